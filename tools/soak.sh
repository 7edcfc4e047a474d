#!/bin/sh
# What takes too long for every change: 10,000 power cuts, routes, leases and neighbours over minutes and upstream's suites on every kind of
# cluster (root), every fuzz target for a minute, the race detector where there is a C compiler. It takes hours; with arguments it runs only
# the parts they name ("cuts fuzz"). The last result of each part is kept in bench/results/soak/PART.txt, without host name or path.
set -u
cd "$(dirname "$0")/.."

only=" $* "
results=bench/results/soak
mkdir -p $results
log=$(mktemp)
trap 'rm -f "$log"' EXIT
trap 'exit 1' HUP INT TERM
known= failed=
version=$(git describe --tags --always --dirty 2>/dev/null || echo unknown) # before parts write results into the tree

part() { # part PART WORDS PATTERN COMMAND ...: run it, keep the lines of its output that match, and the verdict
	key=$1 words=$2 keep=$3
	shift 3
	known="$known $key"
	case $only in "  " | *" $key "*) ;; *) return ;; esac
	echo "soak: $key: $words"
	begin=$(date +%s)
	version=$(git describe --tags --always --dirty 2>/dev/null || echo unknown) # before the result is overwritten
	if "$@" >"$log" 2>&1; then verdict=passed; else
		verdict=FAILED failed="$failed $key"
		tail -n 40 "$log"
	fi
	{
		echo "$words: $verdict in $(($(date +%s) - begin)) s"
		echo "version $version, $(go env GOVERSION) $(go env GOARCH)," \
			"linux $(uname -r | cut -d. -f1-2), $(nproc) x $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | sort -u | sed 1q)," \
			"1-minute load $(cut -d' ' -f1 /proc/loadavg) at the end"
		grep -E "$keep" "$log" | sed 's/^ */  /'
	} >$results/"$key".txt
	cat $results/"$key".txt
}

part cuts "power cuts" 'cuts, [0-9]+ allocations|^ok' go test -count=1 -v -timeout 60m -run '^TestPowerCuts$' ./agent/allocation
part twin "twin of the datapath" '^ *---|^ok' env HEXAPOD_TWIN_PACKETS=1000000 go test -count=1 -v -timeout 60m -run '^TestTwin$' ./linux/datapath
part faults "mistakes in the datapath" '^ *[0-9]+ noticed|^all |^faults' go run ./test/faults -results bench/results/faults.txt
part faults-nat64 "mistakes in NAT64" '^ *[0-9]+ noticed|^all |^faults' go run ./test/faults -of nat64 -results bench/results/faults-nat64.txt
part twin-nat64 "twin of NAT64" '^ *---|^ok' env HEXAPOD_TWIN_PACKETS=1000000 go test -count=1 -v -timeout 60m -run '^TestTwin$' ./linux/nat64
part memory-nat64 "memory of NAT64" '^ *---|^ok|bytes each' env HEXAPOD_SOAK=1 go test -count=1 -v -timeout 10m -run '^TestMemoryOfAMillion$' ./model/xlat/nat64
part busy-nat64 "signs of life of a busy NAT64" '^ *---|^ok|_test.go:[0-9]+: ' env HEXAPOD_SOAK=1 go test -count=1 -v -timeout 10m -run '^TestSignOfABusyTranslator$' ./linux/nat64
part mtu-nat64 "path MTUs through NAT64" '^ok|^FAIL|^--- ' env HEXAPOD_SOAK=1 HEXAPOD_ROOT=1 go test -count=1 -v -timeout 30m -run '^TestRFC7915_4_2_TransfersOverEveryPath$' ./linux/nat64
part gateway "a NAT64 gateway is destroyed" '^ *---|^ok|_test.go:[0-9]+: ' env HEXAPOD_SOAK=1 HEXAPOD_ROOT=1 go test -count=1 -v -timeout 30m -run '^TestGatewayIsDestroyed$' ./linux/nat64
part gateways-lab "NAT64 gateways with agents and BGP: drained, destroyed, a translator that hangs" '^ok|^FAIL' bin/hexapod lab run lab/testdata/gateways/*.txtar
part gateways-faults "NAT64 gateways with agents and BGP: hang, lose their links, are destroyed" '^ *---|^ok|gateways[a-z_]*_test.go:[0-9]+: ' env HEXAPOD_SOAK=1 HEXAPOD_ROOT=1 \
	go test -count=1 -v -timeout 30m -run '^(TestGatewayFaults|TestRFC8538_SilentHost)$' ./lab ./edge/bgp
part gateways-destroyed "NAT64 gateways with agents and BGP: destroyed 20 times" '^ *---|^ok|_test.go:[0-9]+: ' env HEXAPOD_SOAK=1 HEXAPOD_ROOT=1 \
	go test -count=1 -v -timeout 60m -run '^TestGatewayHostDestroyed$' ./lab
part restarts "restarts under load" '^ *---|^ok|_test.go:[0-9]+: ' env HEXAPOD_SOAK=1 go test -count=1 -v -timeout 60m \
	-run '^(TestRestartsUnderLoad|TestNothingForbiddenPasses)$' ./linux/datapath
part restarts-agents "agents restart under load" '^ *---|^ok|_test.go:[0-9]+: ' env HEXAPOD_SOAK=1 HEXAPOD_ROOT=1 go test -count=1 -v -timeout 30m \
	-run '^TestAgentsRestartUnderLoad$' ./lab
part policies "policies" '^ *---|^ok|_test.go:[0-9]+: ' env HEXAPOD_SOAK=1 go test -count=1 -v -timeout 90m \
	-run '^(TestTablesAgainstJudge|TestNextIsLikeNew|TestTwinPolicy|TestPoliciesOnLiveFlows)$' ./model/policy ./linux/datapath
part care "host care" '^ *---|^ok' env HEXAPOD_SOAK=1 go test -count=1 -v -timeout 30m \
	-run '^(TestRFC4861_6_3_4_DefaultRouteBesideDocker|TestAddressOfAnotherClientBesideOurPrefix)$' ./agent
if command -v NetworkManager >/dev/null; then # no package that tests install: its daemon would start
	part network-manager "NetworkManager beside the host care" '^ok|^--- ' env HEXAPOD_SOAK=1 HEXAPOD_ROOT=1 go test -count=1 -v -timeout 10m \
		-run '^TestCareLeavesNetworkManagerAlone$' ./linux/sysctl
else
	known="$known network-manager"
	echo "soak: network-manager: not run, the package network-manager is not installed"
fi
part neighbours "neighbours" '^ *---|^ok|_test.go:[0-9]+: ' env HEXAPOD_SOAK=1 go test -count=1 -v -timeout 30m \
	-run '^(TestNeighboursOnALAN|TestManyEndpointsCostOneGroup|TestTakeoverOfAFixedAddress|TestNothingIsAdvertisedBesideARouter)$' ./agent
part default-routers "routers of the fabric that call themselves default routers" '^ *---|^ok|_test.go:[0-9]+: ' env HEXAPOD_ROOT=1 go test -count=1 -v -timeout 30m \
	-run '^TestRouters$/^(frr|bird)$/^(sessions|a_ToR)' ./lab
part clusters "clusters" '^(conformance|services|webhooks|sig-network|check|cluster [^:]*): |^FAIL|^--- |^ *[a-z]+_test.go:[0-9]+: [0-9a-z]+ ' tools/clusters.sh
part store "a restored store" '^ok|^ *---' go test -tags cluster -count=10 -v -timeout 60m -run '^TestRestoredStore$' ./controller
part jobs "20,000 Jobs" '^ok|^ *---' env HEXAPOD_JOBS=20000 go test -tags cluster -count=1 -v -timeout 60m -run '^TestJobsTakeNoNumbers$' ./controller
part store-agents "a restored store under 200 agents" '^ *---|^ok|_test.go:[0-9]+: ([0-9]+ (agents|addresses) |all of it)' env HEXAPOD_AGENTS=200 go test -tags cluster -count=1 -v -timeout 60m \
	-run '^TestRestoredStoreWithAgents$' ./controller
part scale "5,000 hosts" '^Benchmark|^ok' go test -tags cluster -run '^$' -bench '^BenchmarkScale$' -benchtime 1x -timeout 60m ./controller
part fuzz "fuzz" '^fuzz:? ' env FUZZTIME="${SOAK_FUZZTIME:-60s}" tools/fuzz.sh
if command -v gcc >/dev/null; then
	part race "race detector" '^(ok|FAIL|---)|DATA RACE' env CGO_ENABLED=1 go test -short -race -timeout 60m ./...
else
	known="$known race"
	echo "soak: race: not run, there is no C compiler"
fi

for key in "$@"; do
	case "$known " in *" $key "*) ;; *) echo "soak: no part $key; there are:$known" >&2 && exit 2 ;; esac
done
[ -z "$failed" ] || { echo "soak: FAILED:$failed" >&2; exit 1; }
