#!/bin/sh
# Measures translation beside plain forwarding and tayga, and writes bench/results/nat64.json. Needs root; takes about four minutes.
# Arguments go to the benchmark (-pairs, -slice, -cpu).
set -eu
cd "$(dirname "$0")/../../.."

tree=$PWD
bin=$(mktemp -d)
trap 'rm -rf "$bin"' EXIT
export CGO_ENABLED=0
cd test/bench
go build -o "$bin/bench" ./nat64
mkdir -p "$tree/bench/results"
"$bin/bench" -results "$tree/bench/results/nat64.json" -version "$(git describe --tags --always 2>/dev/null || echo unknown)" "$@"
