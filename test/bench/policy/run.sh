#!/bin/sh
# Measures what policies cost and writes bench/results/policy.json (compiling them, and bringing a change into the kernel) and
# bench/results/policy-packets.json (what packets pay). Needs root; takes about three minutes. Arguments go to both benchmarks (-pairs).
set -eu
cd "$(dirname "$0")/../../.."

tree=$PWD
bin=$(mktemp -d)
trap 'rm -rf "$bin"' EXIT
export CGO_ENABLED=0
cd test/bench
go build -o "$bin/" ./policy ./datapath
mkdir -p "$tree/bench/results"
version=$(git describe --tags --always 2>/dev/null || echo unknown)
"$bin/policy" -results "$tree/bench/results/policy.json" -version "$version" "$@"
"$bin/datapath" -set policy -results "$tree/bench/results/policy-packets.json" -version "$version" "$@"
