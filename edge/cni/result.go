package cni

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"

	"hexapod.dev/edge/cni/wire"
	"hexapod.dev/model/desired"
)

// result is a success result of the specification, section 5. What came from plugins before us stays as they wrote it.
type result struct {
	members    map[string]json.RawMessage // everything but the three lists
	interfaces []json.RawMessage
	ips        []json.RawMessage
	routes     []json.RawMessage
}

type resultInterface struct {
	Name    string `json:"name"`
	MAC     string `json:"mac,omitempty"`
	MTU     int    `json:"mtu,omitempty"` // since 1.1.0
	Sandbox string `json:"sandbox,omitempty"`
}

type resultIP struct {
	Version   string `json:"version,omitempty"` // until 0.4.0: "4" or "6"
	Interface *int   `json:"interface,omitempty"`
	Address   string `json:"address"`
	Gateway   string `json:"gateway,omitempty"`
}

type resultRoute struct {
	Dst string `json:"dst"`
	GW  string `json:"gw,omitempty"`
}

// parseResult reads a prevResult. Its version is that of the request: runtimes convert before they pass it on.
func parseResult(text []byte, version string) (*result, error) {
	members, err := decodeObject(text)
	if err != nil {
		return nil, err
	}
	r := &result{members: members}
	got := version
	for _, m := range []struct {
		key  string
		into any
	}{{"cniVersion", &got}, {"interfaces", &r.interfaces}, {"ips", &r.ips}, {"routes", &r.routes}} {
		if raw, ok := members[m.key]; ok {
			if err := json.Unmarshal(raw, m.into); err != nil {
				return nil, fmt.Errorf("%s: %w", m.key, err)
			}
			delete(members, m.key)
		}
	}
	if got != version && got != "" {
		return nil, fmt.Errorf("cniVersion is %q, that of the request is %q", got, version)
	}
	return r, nil
}

// sandboxed finds the interface of that name in that namespace; false if there is none.
func (r *result) sandboxed(name, netns string) (index int, found bool, err error) {
	for i, raw := range r.interfaces {
		var got resultInterface
		if err := json.Unmarshal(raw, &got); err != nil {
			return 0, false, fmt.Errorf("interfaces, entry %d: %w", i+1, err)
		}
		if got.Name == name && got.Sandbox == netns && netns != "" {
			return i, true, nil
		}
	}
	return 0, false, nil
}

// hostSide tells whether an interface of that name outside any namespace is listed.
func (r *result) hostSide(name string) bool {
	return slices.ContainsFunc(r.interfaces, func(raw json.RawMessage) bool {
		var got resultInterface
		return json.Unmarshal(raw, &got) == nil && got.Name == name && got.Sandbox == ""
	})
}

// addrs lists the addresses of one interface.
func (r *result) addrs(index int) ([]netip.Addr, error) {
	var addrs []netip.Addr
	for i, raw := range r.ips {
		var ip resultIP
		if err := json.Unmarshal(raw, &ip); err != nil {
			return nil, fmt.Errorf("ips, entry %d: %w", i+1, err)
		}
		if ip.Interface == nil || *ip.Interface != index {
			continue
		}
		p, err := netip.ParsePrefix(ip.Address)
		if err != nil {
			return nil, fmt.Errorf("ips, entry %d: %w", i+1, err)
		}
		addrs = append(addrs, p.Addr())
	}
	return addrs, nil
}

// merge appends an attachment to what plugins before us answered: the host side, the endpoint's side, its addresses and default route.
func (r *result) merge(a Attachment, version string) {
	host := resultInterface{Name: a.HostName, MAC: macText(a.HostMAC)}
	inside := resultInterface{Name: a.Name, MAC: macText(a.MAC), Sandbox: a.NetNS}
	if version == wire.Version110 {
		host.MTU, inside.MTU = a.MTU, a.MTU
	}
	r.interfaces = append(r.interfaces, encode(host), encode(inside))
	index := len(r.interfaces) - 1
	gateway := ""
	if a.Gateway.IsValid() {
		gateway = a.Gateway.String()
	}
	dual := false
	for _, addr := range a.Addrs {
		ip := resultIP{Interface: &index, Address: netip.PrefixFrom(addr, addr.BitLen()).String(), Gateway: gateway}
		if version == wire.Version040 {
			ip.Version = "6" // removed in 1.0.0
		}
		if addr.Is4() { // its next hop is IPv6, which a gateway of the specification cannot say
			dual, ip.Gateway = true, ""
			if version == wire.Version040 {
				ip.Version = "4"
			}
		}
		r.ips = append(r.ips, encode(ip))
	}
	r.routes = append(r.routes, encode(resultRoute{Dst: "::/0", GW: gateway}))
	if dual {
		r.routes = append(r.routes, encode(resultRoute{Dst: "0.0.0.0/0"}))
	}
}

func macText(m desired.MAC) string {
	if m == (desired.MAC{}) {
		return ""
	}
	return m.String()
}

// encode cannot fail: the structures hold strings and numbers.
func encode(v any) json.RawMessage {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return text
}

// json writes the result, compact.
func (r *result) json(version string) ([]byte, error) {
	all := make(map[string]any, len(r.members)+4)
	for key, value := range r.members {
		all[key] = value
	}
	all["cniVersion"] = version
	for key, list := range map[string][]json.RawMessage{"interfaces": r.interfaces, "ips": r.ips, "routes": r.routes} {
		if len(list) > 0 {
			all[key] = list
		}
	}
	return json.Marshal(all)
}

// addResult is the answer to ADD: prevResult, ours, and the configuration's dns where no plugin before us gave one.
func addResult(c config, a Attachment) ([]byte, error) {
	r := &result{members: map[string]json.RawMessage{}}
	if c.prev != nil {
		r = c.prev
	}
	r.merge(a, c.version)
	if _, has := r.members["dns"]; !has && c.dns != nil {
		r.members["dns"] = c.dns
	}
	return r.json(c.version)
}

// checkResult compares what is there with what the runtime remembers of ADD. Plugins after us may have added interfaces, addresses and
// routes and may have changed the MAC (CNI specification, section 2, CHECK), so only what is ours has to be listed.
func checkResult(prev *result, a Attachment) error {
	index, found, err := prev.sandboxed(a.Name, a.NetNS)
	switch {
	case err != nil:
		return Errorf(wire.CodeInvalidConfig, "network configuration: prevResult: %w", err)
	case !found:
		return Errorf(wire.CodeDiffers, "prevResult has no interface %s in %s", a.Name, a.NetNS)
	case !prev.hostSide(a.HostName):
		return Errorf(wire.CodeDiffers, "prevResult has no host interface %s, which %s is connected to", a.HostName, a.Name)
	}
	listed, err := prev.addrs(index)
	if err != nil {
		return Errorf(wire.CodeInvalidConfig, "network configuration: prevResult: %w", err)
	}
	for _, addr := range a.Addrs {
		if !slices.Contains(listed, addr) {
			return Errorf(wire.CodeDiffers, "%s has address %s, prevResult lists %v", a.Name, addr, listed)
		}
	}
	return nil
}
