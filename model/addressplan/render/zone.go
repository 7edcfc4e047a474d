package render

import (
	"fmt"
	"net/netip"
	"strings"

	"hexapod.dev/model/prefix"
)

// zone writes the reverse zones of everything the plan owns: one file per cut of the tree (RFC 3596 section 2.5), with the
// names of hosts and ToRs. A fabric of /37 needs eight.
func zone(v view, _ Scope) ([]File, error) {
	owned, err := v.owned()
	if err != nil {
		return nil, err
	}
	names, err := v.names()
	if err != nil {
		return nil, err
	}
	var files []File
	for _, p := range owned {
		cuts, err := prefix.ReverseZones(p)
		if err != nil {
			return nil, err
		}
		for _, cut := range cuts {
			f, err := v.zoneFile(p, cut, names)
			if err != nil {
				return nil, err
			}
			files = append(files, f)
		}
	}
	return files, nil
}

func (v view) zoneFile(owned, cut netip.Prefix, names []namedAddr) (File, error) {
	origin, err := prefix.ReverseName(cut)
	if err != nil {
		return File{}, err
	}
	t := &text{}
	t.line("; reverse zone of %s, a part of %s", cut, owned)
	t.line("$ORIGIN %s\n$TTL 3600", origin)
	t.line("@ IN SOA %s hostmaster.%s %d 3600 900 1209600 300", v.opts.NameServer, v.opts.Domain, v.opts.Serial)
	t.line("@ IN NS %s", v.opts.NameServer)
	for _, n := range names {
		if !cut.Contains(n.addr) {
			continue
		}
		full, err := prefix.ReverseName(netip.PrefixFrom(n.addr, 128))
		if err != nil {
			return File{}, err
		}
		t.line("%s IN PTR %s", strings.TrimSuffix(full, "."+origin), n.name)
	}
	return File{strings.TrimSuffix(origin, ".") + ".zone", t.String()}, nil
}

type namedAddr struct {
	addr netip.Addr
	name string // with the final dot
}

// names returns the addresses that the plan itself can name: loopbacks of ToRs and router addresses of hosts.
func (v view) names() ([]namedAddr, error) {
	racks, err := v.racks()
	if err != nil {
		return nil, err
	}
	var all []namedAddr
	for _, r := range racks {
		if r.loopback.IsValid() {
			all = append(all, namedAddr{r.loopback, fmt.Sprintf("tor.%s.%s.%s", r.rack.Name, r.cluster.Name, v.opts.Domain)})
		}
		for _, h := range r.hosts {
			all = append(all, namedAddr{h.parts.Router, fmt.Sprintf("%s.%s.%s.%s", h.name, r.rack.Name, r.cluster.Name, v.opts.Domain)})
		}
	}
	return all, nil
}
