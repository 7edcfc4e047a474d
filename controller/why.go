package controller

// Why is the reason something was not done, in the same word for condition, event, log and metric.
type Why string

// The reasons.
const (
	NoPlan           Why = "NoPlan"           // there is no AddressPlan, or it is refused
	WaitingForHosts  Why = "WaitingForHosts"  // a new leader waits until hosts have said what they hold
	WaitingForCIDR   Why = "WaitingForCIDR"   // prefixes are adopted, and nobody wrote one yet
	UnknownRack      Why = "UnknownRack"      // the label of a node names no rack
	RackFull         Why = "RackFull"         // every number of the rack was given
	IPv4Full         Why = "IPv4Full"         // every IPv4 range was given
	PrefixTaken      Why = "PrefixTaken"      // another host has the prefix
	PrefixUnfit      Why = "PrefixUnfit"      // what stands in podCIDRs cannot be a host prefix
	PrefixForeign    Why = "PrefixForeign"    // somebody else wrote podCIDRs although the plan numbers hosts
	NoIPv6Address    Why = "NoIPv6Address"    // the node has no IPv6 address yet
	IPv4First        Why = "IPv4First"        // the node's IPv4 address stands before its IPv6 one
	HostAddressTaken Why = "HostAddressTaken" // another node has the same address
	StalePods        Why = "StalePods"        // pods of the host network have addresses that the node lost
	AgentSilent      Why = "AgentSilent"      // no agent has reported from the host
	AgentNotReady    Why = "AgentNotReady"    // the agent says that it cannot serve yet
	Ready            Why = "Ready"            // nothing is missing
	NumbersFull      Why = "NumbersFull"      // every identity number that fits into addresses was given
	NoPool           Why = "NoPool"           // a pod asks for an address of a pool that is not there
	NotGranted       Why = "NotGranted"       // a pod asks for an address of a pool that its namespace was not granted
	PoolFull         Why = "PoolFull"         // every address of the pool was given
	AddressTaken     Why = "AddressTaken"     // a pod asks for an address that another has
	NotHeld          Why = "NotHeld"          // a part of a policy is not in force as it is written
	NotItsAddress    Why = "NotItsAddress"    // a host says who has an address that is not its own to speak of
	Accepted         Why = "Accepted"         // in use as it is written
	Refused          Why = "Refused"          // not in use, with the problem
)

// A Problem is a reason with its words, as an error.
type Problem struct {
	Why  Why
	Text string
	Err  error // what lies behind it, or nil
}

// Error returns the words alone: the reason stands beside them wherever they are shown.
func (p *Problem) Error() string { return p.Text }

// Unwrap returns what lies behind it.
func (p *Problem) Unwrap() error { return p.Err }
