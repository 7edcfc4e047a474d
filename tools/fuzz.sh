#!/bin/sh
# Runs every fuzz target of the tree, one after the other, for FUZZTIME each.
set -eu
cd "$(dirname "$0")/.."

length=${FUZZTIME:-10s}
targets=$(git ls-files --cached --others --exclude-standard '*_test.go' | while read -r file; do
	[ -f "$file" ] && sed -n "s|^func \(Fuzz[A-Za-z0-9_]*\)(.*|$(dirname "$file") \1|p" "$file"
done)
[ -n "$targets" ] || { echo "fuzz: no target found" >&2; exit 1; }
log=$(mktemp)
trap 'rm -f "$log"' EXIT
trap 'exit 1' HUP INT TERM

# only_late tells a run that was cut off by its own end from one that found something: it wrote no input.
only_late() {
	grep -q '^ *context deadline exceeded' "$log" && ! grep -q -e 'Failing input' -e 'panic' -e '_test.go:' "$log"
}

count=0
while read -r dir name; do
	echo "fuzz ./$dir $name $length"
	if ! go test -run '^$' -fuzz "^$name\$" -fuzztime "$length" "./$dir" >"$log" 2>&1 </dev/null && ! only_late; then
		cat "$log"
		echo "fuzz: $name in ./$dir failed" >&2
		exit 1
	fi
	grep '^fuzz: elapsed' "$log" | tail -n 1
	count=$((count + 1))
done <<EOF
$targets
EOF
echo "fuzz: $count targets, $length each, clean"
