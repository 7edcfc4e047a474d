package dns64

// Why says why a reply is as it is. It is the label of metrics and the last word of `hexapod dns lookup`.
type Why string

// Reasons.
const (
	Synthesised     Why = "synthesised from A records"
	Native          Why = "has AAAA records of its own"
	NoName          Why = "no such name"
	NoAddress       Why = "has neither AAAA nor A records"
	NotCarried      Why = "no NAT64 prefix may carry its addresses"
	Failed          Why = "upstream failed"
	BogusData       Why = "upstream found wrong signatures"
	Looped          Why = "its aliases form a loop or too long a chain"
	OtherClass      Why = "not of class IN"
	OtherType       Why = "of a type that is never synthesised"
	ClientCapable   Why = "the client has IPv4 of its own"
	ClientValidates Why = "the client validates by itself"
	ZoneKept        Why = "in a zone that is never synthesised"
	NoPrefix        Why = "there is no NAT64 prefix"
	NoUpstream      Why = "the network outside has no NAT64 that is known now (hexapod nat64 show tells why)"
	KnownHere       Why = "known to every DNS64 (RFC 8880)"
	Mapped          Why = "mapped to the name of the IPv4 address"
	AFiltered       Why = "A records are kept from clients without IPv4"
)

// Reasons lists all of them, for metrics that begin at zero.
func Reasons() []Why {
	return []Why{Synthesised, Native, NoName, NoAddress, NotCarried, Failed, BogusData, Looped, OtherClass, OtherType, ClientCapable,
		ClientValidates, ZoneKept, NoPrefix, NoUpstream, KnownHere, Mapped, AFiltered}
}
