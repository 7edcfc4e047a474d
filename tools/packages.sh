#!/bin/sh
# Installs the Debian packages of a list (test/packages.txt) that are missing, so that `make test` has its peers (FRR, BIRD, ...).
# Their services are neither started nor enabled: the tests start what they need themselves, in namespaces of their own.
set -eu
cd "$(dirname "$0")/.."

list=${1:-test/packages.txt}
[ -f "$list" ] || exit 0
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
	exit 0 # tests that miss a tool skip, and say which
fi

wanted=$(sed -e 's/#.*//' "$list" | tr -s ' \t\n' '\n\n\n' | sed '/^$/d')
missing=
for package in $wanted; do
	state=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true)
	[ "$state" = installed ] || missing="$missing $package"
done
[ -n "$missing" ] || exit 0

echo "installing for the tests:$missing"
guard=/usr/sbin/policy-rc.d # Debian's way to keep maintainer scripts from starting services: 101 = forbidden by policy
log=$(mktemp)
before=$(mktemp)
ours=
cleanup() {
	rm -f "$log" "$before"
	[ -z "$ours" ] || rm -f "$guard"
}
trap cleanup EXIT
trap 'exit 1' HUP INT TERM
if [ ! -e "$guard" ]; then
	ours=yes
	printf '#!/bin/sh\nexit 101\n' >"$guard"
	chmod 755 "$guard"
fi

installed() { dpkg-query -W -f '${db:Status-Abbrev} ${Package}\n' | sed -n 's/^ii *//p' | sort; }
installed >"$before"

export DEBIAN_FRONTEND=noninteractive
# shellcheck disable=SC2086 # a list of words
if ! { apt-get -q update && apt-get -q -y -o DPkg::Lock::Timeout=120 install --no-install-recommends $missing; } >"$log" 2>&1 </dev/null; then
	tail -n 20 "$log" >&2
	echo "could not install$missing: install them, or run the tests without root" >&2
	exit 1
fi

# Of all that came along, nothing starts with the machine either. Without systemctl there is no systemd to start it.
command -v systemctl >/dev/null || exit 0
for package in $(installed | comm -13 "$before" -); do
	units=$(dpkg -L "$package" | sed -n -E 's,.*/systemd/system/([^/@]*[.](service|socket|timer))$,\1,p')
	for unit in $units; do
		systemctl --quiet disable "$unit" >/dev/null 2>&1 || true # not every unit can be enabled
	done
done
