#!/bin/sh
# Measures the datapath beside plain routing and writes bench/results/datapath.json. Needs root; takes about six minutes.
# Arguments go to the benchmark (-pairs, -slice, -cpu).
set -eu
cd "$(dirname "$0")/../../.."

tree=$PWD
bin=$(mktemp -d)
trap 'rm -rf "$bin"' EXIT
export CGO_ENABLED=0
cd test/bench
go build -o "$bin/bench" ./datapath
mkdir -p "$tree/bench/results"
"$bin/bench" -results "$tree/bench/results/datapath.json" -version "$(git describe --tags --always 2>/dev/null || echo unknown)" "$@"
