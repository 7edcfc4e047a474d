#!/bin/sh
# Runs the benchmarks and keeps their raw output in bench/results. A result names the CPU model and the kernel's x.y, never a
# host. BENCH selects by name, BENCHTIME and COUNT go to go test.
set -eu
cd "$(dirname "$0")/.."

mkdir -p bench/results
about() {
	echo "# $1"
	echo "# version $(git describe --tags --always --dirty 2>/dev/null || echo unknown), $(go env GOVERSION) $(go env GOARCH)"
	echo "# linux $(uname -r | cut -d. -f1-2), $(nproc) x $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | sort -u | sed 1q)"
}

packages=$(git ls-files --cached --others --exclude-standard '*_test.go' | while read -r file; do
	[ -f "$file" ] && grep -q '^func Benchmark' "$file" && echo "./$(dirname "$file")"
done | sort -u)
[ -n "$packages" ] || { echo "bench: no benchmark found" >&2; exit 1; }

for package in $packages; do
	name=$(echo "${package#./}" | tr / -)
	out=bench/results/$name.txt
	echo "bench $package > $out"
	about "go test -bench of ${package#./}" >"$out.new"
	if ! go test -run '^$' -bench "${BENCH:-.}" -benchmem -benchtime "${BENCHTIME:-1s}" -count "${COUNT:-3}" -timeout 30m "$package" >>"$out.new" 2>&1; then
		cat "$out.new" >&2
		rm -f "$out.new"
		echo "bench: $package failed" >&2
		exit 1
	fi
	mv "$out.new" "$out"
	grep '^Benchmark' "$out" || true
done

# Beside others: each folder of test/bench is a program that runs ours and its peers in turn.
for run in test/bench/*/run.sh; do
	[ -f "$run" ] || continue
	if [ "$(id -u)" != 0 ]; then
		echo "bench $run: left out, it needs root"
		continue
	fi
	echo "bench $run"
	"$run"
done
