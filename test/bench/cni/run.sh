#!/bin/sh
# Builds Hexapod and the CNI project's ptp, bridge and host-local, measures them side by side and writes bench/results/cni.json.
# Needs root; takes about three minutes. Arguments go to the benchmark (-pairs, -each, -burst, -living).
set -eu
cd "$(dirname "$0")/../../.."

tree=$PWD
bin=$(mktemp -d)
trap 'rm -rf "$bin"' EXIT
export CGO_ENABLED=0
make --no-print-directory build BIN="$bin"
cd test/bench
peers=github.com/containernetworking/plugins/plugins
go build -trimpath -ldflags '-s -w' -o "$bin/" $peers/main/ptp $peers/main/bridge $peers/ipam/host-local
go build -o "$bin/bench" ./cni
mkdir -p "$tree/bench/results"
"$bin/bench" -bin "$bin" -results "$tree/bench/results/cni.json" -version "$(git describe --tags --always 2>/dev/null || echo unknown)" "$@"
