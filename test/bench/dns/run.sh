#!/bin/sh
# Builds Hexapod, measures its DNS64 beside unbound's on one core each, and writes bench/results/dns.json.
# Needs root, two processors, and Debian's unbound; takes about two minutes. Arguments go to the benchmark (-pairs, -cached, -fresh, -names).
set -eu
cd "$(dirname "$0")/../../.."

tree=$PWD
bin=$(mktemp -d)
trap 'rm -rf "$bin"' EXIT
chmod 755 "$bin" # the DNS server runs as a user of its own
export CGO_ENABLED=0
go build -trimpath -ldflags '-s -w' -o "$bin/" ./cmd/hexapod
cd test/bench
go build -o "$bin/bench" ./dns
mkdir -p "$tree/bench/results"
"$bin/bench" -bin "$bin" -results "$tree/bench/results/dns.json" -version "$(git describe --tags --always 2>/dev/null || echo unknown)" "$@"
