#!/bin/sh
# Asks govulncheck whether our code calls anything with a known vulnerability. A finding fails; a database that cannot be
# reached does not, because that is no finding, but it is said. GOVULNDB names another database (govulncheck -db).
set -u
cd "$(dirname "$0")/.."

[ -x bin/tools/govulncheck ] || go -C tools build -o ../bin/tools/ tool || exit 1
out=$(bin/tools/govulncheck ${GOVULNDB:+-db "$GOVULNDB"} ./... 2>&1)
status=$?
case $status in
0)
	echo "no known vulnerability is reached"
	;;
3)
	printf '%s\n' "$out"
	echo "govulncheck: vulnerabilities found" >&2
	exit 1
	;;
*)
	case $out in
	*"fetching vulnerabilities"*)
		echo "NOT CHECKED, database unreachable: set GOVULNDB or run it where there is a network"
		;;
	*)
		printf '%s\n' "$out"
		echo "govulncheck: did not run (exit $status)" >&2
		exit 1
		;;
	esac
	;;
esac
