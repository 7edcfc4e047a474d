#!/bin/sh
# Builds Hexapod, measures how fast routes get into the kernel beside iproute2, FRR and BIRD, and writes bench/results/fib.json.
# Needs root and Debian's frr and bird2; takes about five minutes. Arguments go to the benchmark (-pairs, -feeds, -routes).
set -eu
cd "$(dirname "$0")/../../.."

tree=$PWD
bin=$(mktemp -d)
trap 'rm -rf "$bin"' EXIT
export CGO_ENABLED=0
go build -trimpath -ldflags '-s -w' -o "$bin/" ./cmd/hexapod
cd test/bench
go build -o "$bin/bench" ./fib
mkdir -p "$tree/bench/results"
"$bin/bench" -bin "$bin" -results "$tree/bench/results/fib.json" -version "$(git describe --tags --always 2>/dev/null || echo unknown)" "$@"
