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
	UplinksDiffer  Why = "the uplinks have different MTUs, and endpoints have the smallest; give all of them the same"
	PrefixOverlaps Why = "its prefix overlaps the prefix of this host"
	NoPool         Why = "no IPv4 address of its pool falls to this host; the pool needs more addresses than hosts translate"
	ForeignAddress Why = "its address lies neither in the prefix of this host nor in a pool"
)

// Undone is one thing that is not done, and why.
type Undone struct {
	Kind string // peer, uplink, endpoint ...
	Name string
	Why  Why
}
