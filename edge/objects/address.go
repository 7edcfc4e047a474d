package objects

import (
	"net/netip"

	"hexapod.dev/api/v1alpha1"
)

// Claim says which endpoint a fixed address is for.
type Claim struct {
	Pool            string
	Namespace, Name string // of the endpoint
}

// Claims returns the claims of a set, by address.
func Claims(s v1alpha1.Set) map[netip.Addr]Claim {
	out := make(map[netip.Addr]Claim, len(s.Addresses))
	for _, a := range s.Addresses {
		out[a.Spec.Address.Addr] = Claim{Pool: a.Spec.Pool, Namespace: a.Spec.Namespace, Name: a.Spec.Name}
	}
	return out
}
