#!/bin/sh
# What takes too long for every change: 10,000 power cuts, routes, leases and neighbours over minutes and upstream's suites on every kind of
# cluster (root), every fuzz target for a minute, the race detector where there is a C
# compiler. The last result is kept in bench/results/soak.txt, without host name or path.
set -u
cd "$(dirname "$0")/.."

mkdir -p bench/results
result=bench/results/soak.txt
log=$(mktemp)
trap 'rm -f "$log"' EXIT
trap 'exit 1' HUP INT TERM
failed=

{
	echo "# make soak, version $(git describe --tags --always --dirty 2>/dev/null || echo unknown), $(go env GOVERSION) $(go env GOARCH)"
	echo "# linux $(uname -r | cut -d. -f1-2), $(nproc) x $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | sort -u | sed 1q)"
} >"$result.new"

part() { # part NAME PATTERN COMMAND ...: run it, keep the lines of its output that match, and the verdict
	name=$1 keep=$2
	shift 2
	echo "soak: $name"
	begin=$(date +%s)
	if "$@" >"$log" 2>&1; then verdict=passed; else
		verdict=FAILED failed="$failed $name"
		tail -n 40 "$log"
	fi
	{
		echo
		echo "$name: $verdict in $(($(date +%s) - begin)) s"
		grep -E "$keep" "$log" | sed 's/^ */  /'
	} >>"$result.new"
}

part "power cuts" 'cuts, [0-9]+ allocations|^ok' go test -count=1 -v -timeout 60m -run '^TestPowerCuts$' ./agent/allocation
part "twin of the datapath" '^ *---|^ok' env HEXAPOD_TWIN_PACKETS=1000000 go test -count=1 -v -timeout 60m -run '^TestTwin$' ./linux/datapath
part "mistakes in the datapath" '^ *[0-9]+ noticed|^all |^faults' go run ./test/faults -results bench/results/faults.txt
part "mistakes in NAT64" '^ *[0-9]+ noticed|^all |^faults' go run ./test/faults -of nat64 -results bench/results/faults-nat64.txt
part "twin of NAT64" '^ *---|^ok' env HEXAPOD_TWIN_PACKETS=1000000 go test -count=1 -v -timeout 60m -run '^TestTwin$' ./linux/nat64
part "memory of NAT64" '^ *---|^ok|bytes each' env HEXAPOD_SOAK=1 go test -count=1 -v -timeout 10m -run '^TestMemoryOfAMillion$' ./model/xlat/nat64
part "a NAT64 gateway is destroyed" '^ *---|^ok|_test.go:[0-9]+: ' env HEXAPOD_SOAK=1 HEXAPOD_ROOT=1 go test -count=1 -v -timeout 30m -run '^TestGatewayIsDestroyed$' ./linux/nat64
part "restarts under load" '^ *---|^ok|_test.go:[0-9]+: ' env HEXAPOD_SOAK=1 go test -count=1 -v -timeout 60m \
	-run '^(TestRestartsUnderLoad|TestNothingForbiddenPasses)$' ./linux/datapath
part "policies" '^ *---|^ok|_test.go:[0-9]+: ' env HEXAPOD_SOAK=1 go test -count=1 -v -timeout 90m \
	-run '^(TestTablesAgainstJudge|TestNextIsLikeNew|TestTwinPolicy|TestPoliciesOnLiveFlows)$' ./model/policy ./linux/datapath
part "host care" '^ *---|^ok' env HEXAPOD_SOAK=1 go test -count=1 -v -timeout 30m \
	-run '^(TestRFC4861_6_3_4_DefaultRouteBesideDocker|TestAddressOfAnotherClientBesideOurPrefix)$' ./agent
part "neighbours" '^ *---|^ok|_test.go:[0-9]+: ' env HEXAPOD_SOAK=1 go test -count=1 -v -timeout 30m \
	-run '^(TestNeighboursOnALAN|TestManyEndpointsCostOneGroup|TestTakeoverOfAFixedAddress|TestNothingIsAdvertisedBesideARouter)$' ./agent
part "clusters" '^(conformance|services|webhooks|sig-network|check|cluster [^:]*): |^FAIL|^--- |^ *[a-z]+_test.go:[0-9]+: [0-9a-z]+ ' tools/clusters.sh
part "a restored store" '^ok|^ *---' go test -tags cluster -count=10 -v -timeout 60m -run '^TestRestoredStore$' ./controller
part "20,000 Jobs" '^ok|^ *---' env HEXAPOD_JOBS=20000 go test -tags cluster -count=1 -v -timeout 60m -run '^TestJobsTakeNoNumbers$' ./controller
part "a restored store under 200 agents" '^ *---|^ok|_test.go:[0-9]+: ' env HEXAPOD_AGENTS=200 go test -tags cluster -count=1 -v -timeout 60m \
	-run '^TestRestoredStoreWithAgents$' ./controller
part "5,000 hosts" '^Benchmark|^ok' go test -tags cluster -run '^$' -bench '^BenchmarkScale$' -benchtime 1x -timeout 60m ./controller
part "fuzz" '^fuzz:? ' env FUZZTIME="${SOAK_FUZZTIME:-60s}" tools/fuzz.sh
if command -v gcc >/dev/null; then
	part "race detector" '^(ok|FAIL|---)|DATA RACE' env CGO_ENABLED=1 go test -short -race -timeout 60m ./...
else
	printf '\nrace detector: not run, there is no C compiler\n' >>"$result.new"
fi

mv "$result.new" "$result"
cat "$result"
[ -z "$failed" ] || { echo "soak: FAILED:$failed" >&2; exit 1; }
