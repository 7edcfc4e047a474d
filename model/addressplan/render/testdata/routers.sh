# A host, its ToR and the spine run the written BIRD configurations over links without addresses; the host then reaches the
# spine's loopback address. Everything is in namespaces that end with this script. Arguments: folder, bird, loopbacks.
set -eu
dir=$1 bird=$2 host_lo=$3 tor_lo=$4 spine_lo=$5
mount -t tmpfs tmpfs /run
mkdir /run/netns
for n in host tor spine; do
	ip netns add $n
	ip -n $n link set lo up
	ip netns exec $n sysctl -qw net.ipv6.conf.all.forwarding=1 net.ipv6.conf.default.accept_dad=0
done
ip -n tor link add swp2 type veth peer name eth0 netns host
ip -n tor link add swp49 type veth peer name swp1 netns spine
ip -n tor addr add fe80::1/64 dev swp2
ip -n spine addr add fe80::1/64 dev swp1
ip -n host addr add $host_lo/128 dev lo
ip -n tor addr add $tor_lo/128 dev lo
ip -n spine addr add $spine_lo/128 dev lo
ip -n tor link set swp2 up
ip -n tor link set swp49 up
ip -n host link set eth0 up
ip -n spine link set swp1 up
for n in host tor spine; do
	ip netns exec $n $bird -c $dir/$n.conf -s /run/$n.ctl -P /run/$n.pid
done
# Ends with the third answer, whenever the sessions are up.
ip netns exec host ping -6 -c 3 -i 0.2 -w 40 -I $host_lo $spine_lo
