#!/bin/sh
# Upstream's network suites on every kind of cluster, one after the other: conformance with host prefixes from the plan, adopted (also narrow
# ones), over BGP, and in dual-stack, which bench/results/conformance.txt keeps; and all other specs on ours beside the reference, which
# bench/results/sig-network.txt keeps; and make prove, with 2,000 pods that come and go. Needs root. Prints a line for each kind and fails if one does.
set -u
cd "$(dirname "$0")/.."

export NAME="${NAME:-all}"
failed=
trap 'make -s cluster-down' EXIT
trap 'exit 1' HUP INT TERM

kind() { # kind WORDS VERBS KNOB=VALUE ...: a cluster with these knobs, and what is run on it
	words=$1 verbs=$2
	shift 2
	begin=$(date +%s)
	verdict=passed
	make -s cluster-down
	if env "$@" make -s cluster; then
		for verb in $verbs; do
			bin/cluster "$verb" || verdict=FAILED
		done
	else
		verdict=FAILED
	fi
	[ $verdict = passed ] || { failed="$failed, $words"; bin/cluster status; }
	echo "cluster $words: $verdict in $(($(date +%s) - begin)) s"
}

kind "reference, the stock plugin" "record compare" NETWORK=ptp
kind "host prefixes from the plan" "record webhooks compare" NETWORK=hexapod HOSTPREFIXES=plan
if ! HEXAPOD_CHURN="${HEXAPOD_CHURN:-2000}" make -s prove; then # on the cluster that is up now
	failed="$failed, prove"
fi
kind "host prefixes adopted" record NETWORK=hexapod HOSTPREFIXES=adopt
for bits in 80 96 112; do
	kind "host prefixes adopted, /$bits" record NETWORK=hexapod HOSTPREFIXES=adopt HOSTBITS=$bits
done
kind "racks that speak BGP" record NETWORK=hexapod FABRIC=bgp
kind "dual-stack" record NETWORK=hexapod FAMILY=dual

[ -z "$failed" ] || { echo "clusters: FAILED:${failed#,}" >&2; exit 1; }
