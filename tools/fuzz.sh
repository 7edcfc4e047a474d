#!/bin/sh
# Runs every fuzz target of the tree, one after the other, for FUZZTIME each.
set -eu
cd "$(dirname "$0")/.."

length=${FUZZTIME:-10s}
targets=$(git ls-files --cached --others --exclude-standard '*_test.go' | while read -r file; do
	[ -f "$file" ] && sed -n "s|^func \(Fuzz[A-Za-z0-9_]*\)(.*|$(dirname "$file") \1|p" "$file"
done)
[ -n "$targets" ] || { echo "fuzz: no target found" >&2; exit 1; }

count=0
while read -r dir name; do
	echo "fuzz ./$dir $name $length"
	go test -run '^$' -fuzz "^$name\$" -fuzztime "$length" "./$dir" </dev/null
	count=$((count + 1))
done <<EOF
$targets
EOF
echo "fuzz: $count targets, $length each, clean"
