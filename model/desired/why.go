package desired

// Why tells in the operator's words why a thing is not done. The same words stand in status, log and metric.
type Why string

// Why something of the configuration leads to nothing in the kernel.
const (
	NoHostPrefix   Why = "this host has no prefix"
	HostRetired    Why = "this host is marked retired"
	PeerNoPrefix   Why = "it has no prefix"
	PeerNoPath     Why = "no uplink of this host shares a segment with it and none has a gateway"
	PeerNoAddress  Why = "it shares a segment with this host but its uplink there has no address"
	UplinkMissing  Why = "the uplink does not exist on this host"
	UplinkDown     Why = "the uplink is down"
	UplinkSmallMTU Why = "the MTU of the uplink is less than 1280, which IPv6 needs (RFC 8200, section 5)"
	UplinkPlain    Why = "the device cuts no super-packets above 64 KiB (tso_max_size): BIG TCP stays off on this host"
	UplinkNoRoom   Why = "the MTU of the uplink is less than 1288, which BIG TCP needs: it stays off on this host"
	NoLargeMTU     Why = "largeMTU stays off: it needs a prefix that is this host's own, and an uplink whose MTU is known"
	UplinksDiffer  Why = "the uplinks have different MTUs, and endpoints have the smallest; give all of them the same"
	PrefixOverlaps Why = "its prefix overlaps the prefix of this host"
	NoPool         Why = "no IPv4 address of its pool falls to this host; the pool needs more addresses than hosts translate"
	NoOwnIPv4      Why = "the Translation has no pool, and this host has no IPv4 address of its own that leads anywhere; write spec.pool, or give the host an address and a default route"
	FewPortsLeft   Why = "too few ports would be left to sockets of the host that ask for any (net.ipv4.ip_local_port_range); write a smaller spec.hostPorts"
	NoHostSide     Why = "the Translation has no pool, and packets to this host's own address cannot be told apart; write spec.pool"
	ForeignAddress Why = "its address lies neither in the prefix of this host nor in a pool"
)

// Undone is one thing that is not done, and why.
type Undone struct {
	Kind string // peer, uplink, endpoint ...
	Name string
	Why  Why
}
