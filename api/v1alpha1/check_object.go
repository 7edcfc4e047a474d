package v1alpha1

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
)

func (p *AddressPlan) check(r *report) {
	s := &p.Spec
	oneOf(r, "spec.profile", s.Profile, ProfileDefault, ProfileNibble)
	oneOf(r, "spec.serviceTranslation", s.ServiceTranslation, ServiceConnect, ServiceOff)
	oneOf(r, "spec.hostPart", s.HostPart, HostPartReadable, HostPartSealed)
	oneOf(r, "spec.identityTrust", s.IdentityTrust, TrustBits, TrustExact)
	oneOf(r, "spec.hostPrefixes", s.HostPrefixes, "", HostPrefixesPlan, HostPrefixesAdopt)
	oneOf(r, "spec.outside", s.Outside, OutsideClosed, OutsideOpen)
	oneOf(r, "spec.unknownIdentity", s.UnknownIdentity, UnknownAsOutside, UnknownAsInside)
	checkLevels(r, s)
	checkSeal(r, s)
	checkClusters(r, s)
	checkPeers(r, s)
	if s.MinRest.Duration > s.Rest.Duration {
		r.errorf("spec.rest", "make it as long or longer", "%s is shorter than spec.minRest, %s", s.Rest, s.MinRest)
	}
	if s.IPv4 != nil {
		checkIPv4(r, s.IPv4)
	}
	if s.DNS != nil {
		s.DNS.check(r, "spec.dns")
	}
	checkSink(r, s.Journal.Sink)
	checkKeyVersion(r, "spec.identity.keyVersion", s.Identity.KeyVersion)
	for i, l := range s.Identity.ExcludeLabels {
		if !validLabelKey(l) {
			r.errorf(fmt.Sprintf("spec.identity.excludeLabels[%d]", i), "write the label's key alone", "%q is not a label key", l)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(s.RouterIDs)) {
		if id := s.RouterIDs[name]; !id.Is4() || id.IsUnspecified() {
			r.errorf("spec.routerIDs."+name, "write four octets, for example 192.0.2.1", "%s is not a router id", id)
		}
	}
}

// checkLevels: each level is cut out of the one above it.
func checkLevels(r *report, s *AddressPlanSpec) {
	l := s.Levels
	if s.Prefix.IsValid() && s.Prefix.Addr().Is6() && l.Fabric != s.Prefix.Bits() {
		r.errorf("spec.levels.fabric", "leave it out", "/%d is not the length of spec.prefix, %s", l.Fabric, s.Prefix)
	}
	chain := []struct {
		name string
		bits int
	}{{"fabric", l.Fabric}, {"cluster", l.Cluster}, {"edgeCluster", l.EdgeCluster}, {"rack", l.Rack}, {"host", l.Host}}
	for i, level := range chain[1:] {
		above := chain[i]
		if level.bits < above.bits {
			if above.name == "edgeCluster" && above.bits == l.Cluster {
				above.name = "cluster" // the edge's was left out and follows the cluster's
			}
			r.errorf("spec.levels."+level.name, "write spec.levels with lengths that grow: fabric, cluster, edgeCluster, rack, host",
				"/%d does not nest in %s /%d", level.bits, above.name, above.bits)
			return
		}
	}
	if l.Host > maxHostLength {
		r.errorf("spec.levels.host", fmt.Sprintf("write at most %d", maxHostLength), "/%d leaves too few addresses for endpoints", l.Host)
	}
	if l.Rack == l.Cluster && l.Cluster > 0 {
		r.errorf("spec.levels.rack", "make it longer than the cluster's", "/%d leaves one rack in a cluster, and rack 0 is kept for roles", l.Rack)
	}
}

// maxHostLength leaves the host and one endpoint an address.
const maxHostLength = 126

func checkSeal(r *report, s *AddressPlanSpec) {
	sealed := s.HostPart == HostPartSealed
	switch {
	case sealed && s.SealKeyFile == "":
		r.errorf("spec.sealKeyFile", "name a file in this folder; hexapod plan new --sealed writes one", "is missing, and spec.hostPart is sealed")
	case !sealed && s.SealKeyFile != "":
		r.errorf("spec.sealKeyFile", "remove it, or write hostPart: sealed", "is given, and spec.hostPart is not sealed")
	default:
		checkFile(r, "spec.sealKeyFile", s.SealKeyFile)
	}
	if sealed && s.Levels.Host > 64 {
		r.errorf("spec.hostPart", "use host prefixes of /64 or shorter, or readable", "a /%d host prefix has no 64 bits to seal", s.Levels.Host)
	}
}

// checkFile: a file that belongs to the configuration lies in its folder.
func checkFile(r *report, field, name string) {
	if name != "" && (path.IsAbs(name) || path.Clean(name) != name || strings.HasPrefix(name, "..") || !printable(name)) {
		r.errorf(field, "write a path relative to the folder, without ..", "%q leaves the folder or is not a path", name)
	}
}

func checkClusters(r *report, s *AddressPlanSpec) {
	names, numbers := unique{}, unique{}
	for i, c := range s.Clusters {
		at := fmt.Sprintf("spec.clusters[%d]", i)
		checkLevelName(r, at+".name", c.Name)
		names.add(r, at+".name", c.Name)
		bits, kind := s.Levels.Cluster, "cluster"
		if c.Edge {
			bits, kind = s.Levels.EdgeCluster, "edge cluster"
		}
		if c.Prefix.IsValid() && c.Prefix.Bits() != bits {
			r.errorf(at+".prefix", fmt.Sprintf("write a /%d", bits), "%s is not of the length of %ss, /%d", c.Prefix, kind, bits)
		}
		if !c.Prefix.IsValid() {
			numbers.add(r, at+".number", fmt.Sprintf("%s %d", kind, c.Number))
			checkNumber(r, at+".number", c.Number, s.Levels.Fabric, bits, kind)
		}
		checkRacks(r, at, c, bits, s.Levels.Rack)
	}
	overlaps(r, "spec.clusters[%d].prefix", len(s.Clusters), func(i int) Prefix { return s.Clusters[i].Prefix })
}

func checkRacks(r *report, at string, c Cluster, clusterBits, rackBits int) {
	names, numbers := unique{}, unique{}
	for i, k := range c.Racks {
		at := fmt.Sprintf("%s.racks[%d]", at, i)
		checkLevelName(r, at+".name", k.Name)
		names.add(r, at+".name", k.Name)
		numbers.add(r, at+".number", fmt.Sprintf("rack %d", k.Number))
		if k.Number == 0 {
			r.errorf(at+".number", "begin with 1", "rack 0 is kept for roles (services, pools, NAT64)")
		}
		checkNumber(r, at+".number", k.Number, clusterBits, rackBits, "rack")
	}
}

// checkNumber: a level that begins after outer bits and ends at inner has 2^(inner-outer) numbers.
func checkNumber(r *report, field string, n uint32, outer, inner int, kind string) {
	width := inner - outer
	if width < 0 || width >= 32 || uint64(n) < 1<<width {
		return
	}
	r.errorf(field, fmt.Sprintf("write at most %d", uint64(1)<<width-1), "%s %d does not fit between /%d and /%d", kind, n, outer, inner)
}

// checkLevelName: a name that looks like a number could not be told from one.
func checkLevelName(r *report, field, name string) {
	if _, isNumber := Ref(name).Number(); isNumber || !validName(name) {
		r.errorf(field, nameRule+", and not a number", "%q is not a name", name)
	}
}

func checkPeers(r *report, s *AddressPlanSpec) {
	names := unique{}
	for i, q := range s.Peers {
		at := fmt.Sprintf("spec.peers[%d]", i)
		checkLevelName(r, at+".name", q.Name)
		names.add(r, at+".name", q.Name)
		if q.Prefix.IsValid() && s.Prefix.IsValid() && q.Prefix.Overlaps(s.Prefix.Prefix) {
			r.errorf(at+".prefix", "a peer's prefix is outside the plan", "%s overlaps spec.prefix, %s", q.Prefix, s.Prefix)
		}
	}
	overlaps(r, "spec.peers[%d].prefix", len(s.Peers), func(i int) Prefix { return s.Peers[i].Prefix })
}

func checkIPv4(r *report, v *IPv4Plan) {
	switch {
	case !v.Prefix.Addr().Is4():
		r.errorf("spec.ipv4.prefix", "write an IPv4 prefix, for example 10.0.0.0/12", "%s is not IPv4", v.Prefix)
	case v.HostLength < v.Prefix.Bits() || v.HostLength > 30:
		r.errorf("spec.ipv4.hostLength", fmt.Sprintf("write a length from %d to 30", v.Prefix.Bits()), "/%d does not nest in %s", v.HostLength, v.Prefix)
	}
}

func (h *Host) check(r *report) {
	s := &h.Spec
	oneOf(r, "spec.clock", s.Clock, "", ClockTrusted)
	oneOf(r, "spec.datapath", s.Datapath, "", DatapathAuto, DatapathOff, DatapathRequired)
	oneOf(r, "spec.fastPath", s.FastPath, "", FastPathAuto, FastPathOff, FastPathForce)
	if s.Number == nil && !s.Prefix.IsValid() && !h.Delegated() {
		r.errorf("spec.number", "write number: and rack:, or prefix: with the prefix it was given, or prefixSource: dhcpv6-pd at an uplink", "is missing, and there is no spec.prefix")
	}
	h.checkPrefixSource(r)
	if s.Number != nil && s.Rack == "" {
		r.errorf("spec.rack", "write the rack's number or name", "is missing, and spec.number counts in a rack")
	}
	if s.Prefix.IsValid() && s.Prefix.Bits() > maxHostLength {
		r.errorf("spec.prefix", fmt.Sprintf("write /%d or shorter", maxHostLength), "%s leaves too few addresses for endpoints", s.Prefix)
	}
	if s.IPv4Prefix.IsValid() && (!s.IPv4Prefix.Addr().Is4() || s.IPv4Prefix.Bits() > 30) {
		r.errorf("spec.ipv4Prefix", "write an IPv4 prefix of /30 or shorter, for example 10.0.1.0/24", "%s is not a host's IPv4 prefix", s.IPv4Prefix)
	}
	names := unique{}
	for i, u := range s.Uplinks {
		at := fmt.Sprintf("spec.uplinks[%d]", i)
		oneOf(r, at+".onLink", u.OnLink, "", OnLinkAnswer, OnLinkShared)
		if !linkName(u.Name) {
			r.errorf(at+".name", "write it as ip link shows it", "%q is not a link name", u.Name)
		}
		if u.OnLink == OnLinkShared && (s.Number != nil || s.Prefix.Bits() != 64) {
			r.errorf(at+".onLink", "write spec.prefix with the /64 of the link, and leave out spec.number; or write onLink: answer", "is shared, and the host has no /64 of a link that it could share")
		}
		names.add(r, at+".name", u.Name)
		if u.Segment != "" && !validName(u.Segment) {
			r.errorf(at+".segment", nameRule, "%q is not a name", u.Segment)
		}
	}
}

// linkName: the kernel's IFNAMSIZ is 16 with the closing zero; slash and blank are refused by dev_valid_name.
func linkName(s string) bool {
	return len(s) <= 15 && s != "" && s != "." && s != ".." && !strings.ContainsAny(s, "/: \t") && printable(s)
}

// checkPrefixSource: a prefix comes from one place.
func (h *Host) checkPrefixSource(r *report) {
	first := -1
	for i, u := range h.Spec.Uplinks {
		at := fmt.Sprintf("spec.uplinks[%d].prefixSource", i)
		oneOf(r, at, u.PrefixSource, "", PrefixDHCPv6, PrefixAuto)
		switch {
		case u.PrefixLength != 0 && (u.PrefixLength < 48 || u.PrefixLength > 64):
			r.errorf(fmt.Sprintf("spec.uplinks[%d].prefixLength", i), "write a length from 48 to 64, or leave it out", "/%d cannot be asked for", u.PrefixLength)
		case u.PrefixSource == "":
		case h.Spec.Number != nil || h.Spec.Prefix.IsValid():
			r.errorf(at, "leave it out, or leave out spec.number and spec.prefix", "the host has a prefix already")
		case first >= 0:
			r.errorf(at, "leave it out", "spec.uplinks[%d] is the source of the prefix already", first)
		default:
			first = i
		}
	}
}

func (p *Pool) check(r *report) {
	names := unique{}
	for i, n := range p.Spec.Namespaces {
		at := fmt.Sprintf("spec.namespaces[%d]", i)
		checkNamespace(r, at, n)
		names.add(r, at, n)
	}
	if !printable(p.Spec.Description) {
		r.errorf("spec.description", "write one line of plain text", "has characters that cannot be printed")
	}
}

func (i *Identity) check(r *report) {
	s := &i.Spec
	if s.Number < MinIdentity {
		r.errorf("spec.number", "take one from 256 (0x100) to 65535; hexapod identity add does", "%d is reserved", s.Number)
	}
	if s.Number > MaxIdentity {
		r.errorf("spec.number", "take one from 256 (0x100) to 65535; hexapod identity add does", "%d is above %d, the last number", s.Number, MaxIdentity)
	}
	if want := IdentityName(s.Number); s.Number >= MinIdentity && i.ObjectName() != want {
		r.errorf("metadata.name", "write "+want, "is not the name of number %d", s.Number)
	}
	if s.Namespace != "" {
		checkNamespace(r, "spec.namespace", s.Namespace)
	}
	for k, p := range s.Ports {
		here := fmt.Sprintf("spec.ports[%d]", k)
		if !validPortName(p.Name) {
			r.errorf(here+".name", "write up to 15 lower-case letters, digits and '-'", "%q is not the name of a port", p.Name)
		}
		oneOf(r, here+".protocol", p.Protocol, ProtocolTCP, ProtocolUDP, ProtocolSCTP)
		checkPortNumber(r, here+".port", int32(p.Port))
	}
	checkKeyVersion(r, "spec.keyVersion", s.KeyVersion)
	for _, k := range slices.Sorted(maps.Keys(s.Labels)) {
		if !validLabelKey(k) {
			r.errorf("spec.labels."+word(k), "write it as Kubernetes does", "%q is not a label key", k)
		}
		if !labelValue.MatchString(s.Labels[k]) {
			r.errorf("spec.labels."+word(k), "write it as Kubernetes does: at most 63 letters, digits, '-', '_' and '.'", "%q is not a label value", s.Labels[k])
		}
	}
}

func (a *Address) check(r *report) {
	s := &a.Spec
	if s.Address.IsValid() {
		if want := AddressName(s.Address.Addr); a.ObjectName() != want {
			r.errorf("metadata.name", "write "+want, "is not the name of address %s", s.Address)
		}
	}
	if s.Namespace != "" {
		checkNamespace(r, "spec.namespace", s.Namespace)
	}
	if !validName(s.Name) {
		r.errorf("spec.name", nameRule, "%q is not a name", s.Name)
	}
}

func checkNamespace(r *report, field, n string) {
	if !validName(n) || strings.Contains(n, ".") || len(n) > 63 {
		r.errorf(field, "write it as Kubernetes does: at most 63 lower-case letters, digits and '-'", "%q is not a namespace", n)
	}
}

func checkKeyVersion(r *report, field string, v int) {
	if v != 1 {
		r.errorf(field, "write 1 or leave it out", "key version %d is not known", v)
	}
}
