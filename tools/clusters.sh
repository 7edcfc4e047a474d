#!/bin/sh
# Upstream's network suites on every kind of cluster, one after the other: conformance with host prefixes from the plan, adopted (also narrow
# ones), over BGP, and in dual-stack, which bench/results/conformance.txt keeps; and all other specs on ours beside the reference, which
# bench/results/sig-network.txt keeps; and make prove, with 2,000 pods that come and go. Needs root. Prints a line for each kind and fails if one does.
# With arguments only these: reference, plan, compare, prove, adopt, 80, 96, 112, bgp, dual, services, internet.
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

for mode in ${*:-reference plan compare prove adopt 80 96 112 bgp dual services internet}; do
	case $mode in
	reference) kind "reference, the stock plugin" "record compare" NETWORK=ptp ;;
	plan) kind "host prefixes from the plan" "record webhooks" HOSTPREFIXES=plan ;;
	compare) kind "host prefixes from the plan, all other specs" compare HOSTPREFIXES=plan ;;
	prove)
		kind "for make prove" check HOSTPREFIXES=plan
		HEXAPOD_CHURN="${HEXAPOD_CHURN:-2000}" make -s prove || failed="$failed, prove"
		;;
	adopt) kind "host prefixes adopted" record HOSTPREFIXES=adopt ;;
	80 | 96 | 112) kind "host prefixes adopted, /$mode" record HOSTPREFIXES=adopt HOSTBITS="$mode" ;;
	bgp) kind "racks that speak BGP" record FABRIC=bgp ;;
	internet)
		kind "beside an IPv4-only Internet" check INTERNET=ipv4 FABRIC=bgp NODES=4
		make -s prove INTERNET=ipv4 || failed="$failed, internet"
		;;
	dual) kind "dual-stack" record FAMILY=dual ;;
	services) kind "services by Hexapod alone" record KUBEPROXY=off ;;
	*) echo "clusters: no kind $mode" >&2; exit 2 ;;
	esac
done

[ -z "$failed" ] || { echo "clusters: FAILED:${failed#,}" >&2; exit 1; }
