package v1alpha1

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

func (b *BGPPeer) check(r *report) {
	s := &b.Spec
	checkPeerAddress(r, s)
	checkFile(r, "spec.passwordFile", s.PasswordFile)
	names := unique{}
	for i, h := range s.Hosts {
		names.add(r, fmt.Sprintf("spec.hosts[%d]", i), h)
	}
	for i, p := range s.Accept {
		if p.IsValid() && p.Bits() == 0 {
			r.errorf(fmt.Sprintf("spec.accept[%d]", i), "write allowDefault: true for the default route, and the ranges you mean", "%s takes everything", p)
		}
	}
	for i, c := range s.Communities {
		if _, ok := ParseCommunity(c); !ok {
			r.errorf(fmt.Sprintf("spec.communities[%d]", i), "write 65001:100 (RFC 1997) or 4200000001:1:2 (RFC 8092)", "%q is not a community", c)
		}
	}
	checkPeerTimes(r, s)
}

func checkPeerAddress(r *report, s *BGPPeerSpec) {
	switch {
	case s.Interface != "" && !linkName(s.Interface):
		r.errorf("spec.interface", "write it as ip link shows it", "%q is not a link name", s.Interface)
	case s.Interface == "" && !s.Address.IsValid():
		r.errorf("spec.interface", "write interface: for an unnumbered peer, or address:", "is missing, and there is no spec.address")
	case s.Interface == "" && s.Address.IsLinkLocalUnicast():
		r.errorf("spec.interface", "name the link", "is missing, and %s is link-local", s.Address)
	case s.Interface != "" && s.Address.IsValid() && !s.Address.IsLinkLocalUnicast():
		r.errorf("spec.interface", "remove it, or the address", "is given, and %s needs none", s.Address)
	}
}

// checkPeerTimes keeps to what the messages can carry: 16 bits of hold time, 0 or at least 3 seconds (RFC 4271 4.2); 12 bits of
// restart time (RFC 4724 section 3).
func checkPeerTimes(r *report, s *BGPPeerSpec) {
	whole := func(field string, d Duration, low, high time.Duration) {
		if d.Duration < low || d.Duration > high || d.Duration%time.Second != 0 {
			r.errorf(field, fmt.Sprintf("write whole seconds from %s to %s", Duration{low}, Duration{high}), "%s cannot be used", d)
		}
	}
	whole("spec.holdTime", s.HoldTime, 3*time.Second, 65535*time.Second)
	whole("spec.keepalive", s.Keepalive, time.Second, 21845*time.Second)
	if s.Keepalive.Duration >= s.HoldTime.Duration {
		r.errorf("spec.keepalive", "make it a third of the hold time", "%s is not shorter than spec.holdTime, %s", s.Keepalive, s.HoldTime)
	}
	if s.GracefulRestart.Off {
		if !s.GracefulRestart.RestartTime.IsZero() {
			r.errorf("spec.gracefulRestart.restartTime", "remove it, or off: true", "is given, and graceful restart is off")
		}
	} else {
		whole("spec.gracefulRestart.restartTime", s.GracefulRestart.RestartTime, time.Second, 4095*time.Second)
	}
	if s.BFD == nil {
		return
	}
	if i := s.BFD.Interval.Duration; i < 10*time.Millisecond || i > 10*time.Second {
		r.errorf("spec.bfd.interval", "write 10ms to 10s", "%s cannot be used", s.BFD.Interval)
	}
	if s.BFD.Multiplier > 255 {
		r.errorf("spec.bfd.multiplier", "write 1 to 255", "%d cannot be used", s.BFD.Multiplier)
	}
}

// checkPeersOf reports peers that select what is not there, and hosts with the same peer twice.
func checkPeersOf(s Set) (found Problems) {
	for i, b := range s.BGPPeers {
		found = append(found, checkSelectors(s, b)...)
		for _, other := range s.BGPPeers[:i] {
			if b.Spec.Interface == other.Spec.Interface && b.Spec.Address == other.Spec.Address && meet(b.Spec, other.Spec) {
				found = append(found, problemf(b, "spec", "select other hosts, or remove one of them", "is the same neighbour as BGPPeer %s in %s, for the same hosts", other.ObjectName(), place(other)))
			}
		}
	}
	return found
}

func checkSelectors(s Set, b *BGPPeer) (found Problems) {
	for i, h := range b.Spec.Hosts {
		if _, ok := s.Host(h); !ok {
			found = append(found, problemf(b, fmt.Sprintf("spec.hosts[%d]", i), "add a Host of that name, or name another", "there is no host %s", h))
		}
	}
	if s.Plan == nil || b.Spec.Cluster == "" && len(b.Spec.Racks) == 0 {
		return found
	}
	c, ok := s.Plan.Cluster(b.Spec.Cluster)
	if !ok {
		return append(found, problemf(b, "spec.cluster", "name a cluster of the plan", "the plan has no cluster %q", b.Spec.Cluster))
	}
	for i, ref := range b.Spec.Racks {
		if _, ok := c.Rack(ref); !ok {
			found = append(found, problemf(b, fmt.Sprintf("spec.racks[%d]", i), "name one of: "+strings.Join(rackNames(c), ", "), "cluster %s has no rack %s", c.Name, ref))
		}
	}
	return found
}

// meet reports whether two selectors name a host, a rack or everything in common.
func meet(a, b BGPPeerSpec) bool {
	if a.all() || b.all() {
		return a.Cluster == b.Cluster || a.Cluster == "" || b.Cluster == ""
	}
	for _, h := range a.Hosts {
		if slices.Contains(b.Hosts, h) {
			return true
		}
	}
	for _, k := range a.Racks {
		if a.Cluster == b.Cluster && slices.Contains(b.Racks, k) {
			return true
		}
	}
	return false
}

func (s BGPPeerSpec) all() bool { return len(s.Hosts) == 0 && len(s.Racks) == 0 }
