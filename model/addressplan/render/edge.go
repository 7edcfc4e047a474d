package render

import (
	"encoding/json"
	"errors"
	"fmt"

	"hexapod.dev/model/prefix"
)

var errNoOutside = errors.New("the edge filter needs the ports that leave the fabric: name them with --outside")

// radvd writes radvd.conf of a ToR: it is the default router of its hosts and names no prefix, because a host's prefix is
// routed to it and is no link (RFC 4861 section 6.2.1: a prefix option is optional).
func radvd(v view, s Scope) ([]File, error) {
	r, err := v.rack(s.Rack)
	if err != nil {
		return nil, err
	}
	t := &text{}
	t.line("# Router advertisements of the ToR of rack %s, for hosts that learn their default route from them.", r.name())
	for _, h := range r.hosts {
		t.line("\n# host %s, %s\ninterface %s\n{", h.name, h.prefix, h.port)
		t.line("\tAdvSendAdvert on;\n\tMinRtrAdvInterval 3;\n\tMaxRtrAdvInterval 10;\n\tAdvDefaultLifetime 1800;\n\tAdvManagedFlag off;\n\tAdvOtherConfigFlag off;\n\tAdvSourceLLAddress on;\n};")
	}
	return []File{{"radvd.conf", t.String()}}, nil
}

// kea writes the configuration of Kea's DHCPv6 server on a ToR: the host at each port is delegated its prefix of the plan
// (RFC 8415 section 6.3) and nothing else, so no identifier of a client has to be known.
func kea(v view, s Scope) ([]File, error) {
	r, err := v.rack(s.Rack)
	if err != nil {
		return nil, err
	}
	type pool struct {
		Prefix    string `json:"prefix"`
		Length    int    `json:"prefix-len"`
		Delegated int    `json:"delegated-len"`
	}
	type subnet struct {
		ID        int    `json:"id"`
		Subnet    string `json:"subnet"`
		Interface string `json:"interface"`
		Pools     []pool `json:"pd-pools"`
	}
	ports, subnets := []string{}, []subnet{}
	for i, h := range r.hosts {
		ports = append(ports, h.port)
		subnets = append(subnets, subnet{i + 1, h.prefix.String(), h.port, []pool{{h.prefix.Addr().String(), h.prefix.Bits(), h.prefix.Bits()}}})
	}
	text, err := indented(map[string]any{"Dhcp6": map[string]any{
		"interfaces-config": map[string]any{"interfaces": ports},
		"lease-database":    map[string]any{"type": "memfile", "lfc-interval": 3600},
		// A prefix is the host's as long as the plan says so; the times only bound how soon a host hears of a change.
		"preferred-lifetime": 3600, "valid-lifetime": 7200, "renew-timer": 900, "rebind-timer": 1800,
		"subnet6": subnets,
	}})
	return []File{{"kea-dhcp6.conf", text}}, err
}

// docker writes daemon.json of a host. Docker numbers its own bridge one after the other, so that gets a part of the host
// prefix which no endpoint uses.
func docker(v view, s Scope) ([]File, error) {
	h, _, err := v.host(s.Host)
	if err != nil {
		return nil, err
	}
	if !h.parts.Bridge.IsValid() {
		return nil, fmt.Errorf("host %s: %s is too narrow for a part of its own for Docker's bridge: use Hexapod's Docker driver alone", h.name, h.prefix)
	}
	conf := map[string]any{"ipv6": true, "fixed-cidr-v6": h.parts.Bridge.String()}
	if v.plan.IPv4.Prefix.IsValid() {
		q, err := v.plan.HostIPv4(h.prefix)
		if err != nil {
			return nil, err
		}
		a, err := prefix.Join(q, 0, 1)
		if err != nil {
			return nil, err
		}
		conf["bip"] = fmt.Sprintf("%s/%d", a, q.Bits())
	}
	text, err := indented(conf)
	return []File{{"daemon.json", text}}, err
}

// indented writes v as JSON for people.
func indented(v any) (string, error) {
	b, err := json.MarshalIndent(v, "", "  ")
	return string(b) + "\n", err
}
