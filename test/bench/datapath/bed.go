package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"hexapod.dev/edge/objects"
	"hexapod.dev/linux/datapath"
	"hexapod.dev/linux/netns"
	"hexapod.dev/linux/rtnl"
	model "hexapod.dev/model/datapath"
	"hexapod.dev/model/desired"
	"hexapod.dev/model/identity"
	"hexapod.dev/model/policy"
	"hexapod.dev/model/transport"
	"hexapod.dev/test/bench/fleet"
	"hexapod.dev/test/bench/work"
)

// system is one way of forwarding.
type system struct {
	name      string
	programs  bool
	conntrack bool
	big       int  // largest super-packet in bytes; 0: the kernel's usual 64 KB
	policies  int  // in the cluster; 0: none are judged
	services  bool // it has many, which sockets are led to
	proxy     bool // it has many, by the rules of kube-proxy
}

// systems are what is measured, by the name of the set.
var systems = map[string][]system{
	"paths": {
		{name: "routed"},
		{name: "hexapod", programs: true},
		{name: "conntrack", conntrack: true},
		{name: "big", programs: true, big: 256 << 10},
		{name: "services", programs: true, services: true},
		{name: "kube-proxy", proxy: true},
	},
	"policy": {
		{name: "none", programs: true},
		{name: "10", programs: true, policies: 10},
		{name: "10000", programs: true, policies: fleet.Policies},
	},
}

// bed is two hosts of one system.
type bed struct {
	system system
	hosts  [2]*host
	folder string
	undo   []func() error

	target  netip.Addr // address of the service that leads to the server; invalid: there is none
	clients *os.File   // cgroup of clients; nil: that of this process
}

type host struct {
	ns     *netns.NS
	prefix netip.Prefix
	ends   []end
}

// end is an endpoint.
type end struct {
	ns   *netns.NS
	addr netip.Addr
	key  desired.EndpointKey
}

// on is the way between an endpoint of the first host and a server.
func (b *bed) on(way string) work.System {
	client, server := b.hosts[0].ends[0], b.hosts[1].ends[0]
	if way == local {
		server = b.hosts[0].ends[1]
	}
	s := work.System{Name: b.system.name, Client: client.ns, Server: server.ns, To: server.addr, At: server.addr, Cgroup: b.clients}
	if b.target.IsValid() {
		s.To = b.target
	}
	return s
}

// close takes everything down, newest first.
func (b *bed) close() error {
	var errs []error
	for i := len(b.undo) - 1; i >= 0; i-- {
		errs = append(errs, b.undo[i]())
	}
	b.undo = nil
	return errors.Join(errs...)
}

func (b *bed) place() (*netns.NS, error) {
	ns, err := netns.Anonymous()
	if err != nil {
		return nil, err
	}
	b.undo = append(b.undo, ns.Close)
	return ns, inside(ns, "sysctl -qw net.ipv6.conf.default.accept_dad=0 net.ipv6.conf.all.forwarding=1", "ip link set lo up")
}

// uplinkOf is the address of a host on the wire.
func uplinkOf(i int) string { return fmt.Sprintf("3fff:9::%d", i+1) }

func newBed(ctx context.Context, s system) (b *bed, err error) {
	b = &bed{system: s}
	defer func() {
		if err != nil {
			err = errors.Join(err, b.close())
		}
	}()
	if b.folder, err = os.MkdirTemp("", "hxbench"); err != nil {
		return nil, err
	}
	b.undo = append(b.undo, func() error { return os.RemoveAll(b.folder) })
	for i := range b.hosts {
		ns, err := b.place()
		if err != nil {
			return nil, err
		}
		b.hosts[i] = &host{ns: ns, prefix: netip.MustParsePrefix(fmt.Sprintf("2001:db8:a000:c1%d::/64", i))}
	}
	if err := b.wire(); err != nil {
		return nil, err
	}
	for i, n := range []int{2, 1} {
		if err := b.host(ctx, b.hosts[i], n); err != nil {
			return nil, err
		}
	}
	client, server := b.hosts[0], b.hosts[1].ends[0].addr
	switch {
	case s.services:
		err = b.serve(ctx, b.runOf(client), server)
	case s.proxy:
		b.target = vipOf(0)
		err = b.load(client, proxyRules(server))
	}
	return b, err
}

// runOf is the folder of a host's agent, had it one.
func (b *bed) runOf(h *host) string {
	return filepath.Join(b.folder, fmt.Sprint(h.prefix.Addr().As16()[7]))
}

// wire joins the hosts.
func (b *bed) wire() error {
	big := b.bigWords()
	err := inside(b.hosts[0].ns, "ip link add up0 type veth peer name up0 netns "+b.hosts[1].ns.Path())
	for i, h := range b.hosts {
		other := b.hosts[1-i]
		err = errors.Join(err, inside(h.ns, "ip link set up0"+big+" up", "ip -6 addr add "+uplinkOf(i)+"/64 dev up0 nodad",
			"ip -6 route add "+other.prefix.String()+" via "+uplinkOf(1-i)))
	}
	return err
}

func (b *bed) bigWords() string {
	if b.system.big == 0 {
		return ""
	}
	return fmt.Sprintf(" gso_max_size %d gro_max_size %d", b.system.big, b.system.big)
}

// host gives a host n endpoints, and programs or rules.
func (b *bed) host(ctx context.Context, h *host, n int) error {
	if b.system.conntrack {
		if err := b.follow(h); err != nil {
			return err
		}
	}
	var table *datapath.Table
	if b.system.programs {
		var err error
		run := b.runOf(h)
		if table, err = datapath.Open(datapath.Options{NS: h.ns, Root: filepath.Join(run, "none"), Run: run}); err != nil {
			return err
		}
		b.undo = append(b.undo, func() error { return syscall.Unmount(filepath.Join(run, "bpf"), syscall.MNT_DETACH) }, table.Close)
	}
	want := model.Want{
		Uplinks:   map[string]model.LinkFlags{"up0": model.Uplink},
		Inside:    map[netip.Prefix]model.WantInside{h.prefix: {Flags: model.Own | model.Located}, netip.MustParsePrefix("2001:db8:a000::/37"): {Flags: model.Located}},
		Endpoints: map[netip.Addr]model.WantEndpoint{},
	}
	for i := range n {
		if err := b.endpoint(h, i, table, want); err != nil {
			return err
		}
	}
	if table == nil {
		return nil
	}
	if _, err := table.Reconcile(ctx, want); err != nil {
		return err
	}
	if b.system.policies > 0 {
		if err := b.police(h, table); err != nil {
			return err
		}
	}
	// Where there are services, packets to them are looked for too: some clients have no hook.
	return errors.Join(table.Maps().SetServices(b.system.services), table.Maps().SetFast(true))
}

// police puts policies in force, as an agent does: those of a cluster, by which each endpoint is closed, and one that opens the ports of
// the benchmark.
func (b *bed) police(h *host, table *datapath.Table) error {
	f := fleet.New(b.system.policies)
	w, believed := f.Told().Policies(&objects.PolicyMemo{}, f.World(), policy.Believed{
		Trust: identity.TrustBits, Regions: map[netip.Prefix]policy.Form{fleet.Prefix: policy.Wide}})
	open := policy.Policy{Name: "NetworkPolicy ns0/zz-open", Tier: policy.Namespace, Subject: policy.Workloads{Namespace: "ns0"}, Governs: [2]bool{policy.Ingress: true}}
	open.Rules[policy.Ingress] = []policy.Rule{{
		Name: "ingress 0", Peers: []policy.Peer{{Workloads: &policy.Workloads{Namespace: "ns0"}}},
		Ports: []policy.Port{{Protocol: transport.TCP, First: work.Port, Last: work.Port}, {Protocol: transport.UDP, First: work.Port, Last: work.Port}},
	}}
	w.Policies = append(w.Policies, &open)
	subjects := map[netip.Addr]policy.Subject{}
	maps.Copy(subjects, f.Subjects) // those of a whole host, besides the few that send
	for _, e := range h.ends {
		subjects[e.addr] = policy.Subject{Number: identity.FirstWorkload, Set: f.Sets[identity.FirstWorkload]}
	}
	compiled, err := policy.NewCompiler(w).CompileAll(subjects, believed)
	if err != nil {
		return err
	}
	writer, err := table.Policies()
	if err != nil {
		return err
	}
	_, err = writer.Reconcile(compiled)
	return err
}

// follow loads rules as kube-proxy and firewalls have them: what is established passes, all else is looked at.
func (b *bed) follow(h *host) error {
	return b.load(h, "table inet t {\n chain f {\n  type filter hook forward priority 0\n  ct state established,related accept\n  ct state invalid drop\n  ct state new accept\n }\n}\n")
}

// load loads rules of nftables.
func (b *bed) load(h *host, rules string) error {
	file := filepath.Join(b.folder, "rules")
	if err := os.WriteFile(file, []byte(rules), 0o600); err != nil {
		return err
	}
	return inside(h.ns, "nft -f "+file)
}

// endpoint makes an endpoint as an agent makes it.
func (b *bed) endpoint(h *host, i int, table *datapath.Table, want model.Want) error {
	raw := h.prefix.Addr().As16()
	raw[8], raw[15] = 1, byte(i+1)
	e := end{addr: netip.AddrFrom16(raw), key: desired.EndpointKey{Container: fmt.Sprintf("bench%d", i), Interface: "eth0"}}
	var err error
	if e.ns, err = b.place(); err != nil {
		return err
	}
	conn, err := rtnl.Dial(h.ns)
	if err != nil {
		return err
	}
	defer conn.Close()
	name := desired.LinkName(e.key)
	var l rtnl.Link
	err = conn.Do(rtnl.AddVeth(rtnl.VethEnd{Name: name, MAC: desired.HostMAC(e.key), Group: rtnl.EndpointGroup, NetNS: -1},
		rtnl.VethEnd{Name: "eth0", MAC: desired.EndpointMAC(e.key), NetNS: e.ns.FD()}), rtnl.GetLink(name, &l))
	if err != nil {
		return err
	}
	if table != nil {
		for _, part := range table.Parts(name, nil) {
			if err := conn.Do(part.Request(l.Index)); err != nil {
				return err
			}
		}
	}
	want.Endpoints[e.addr] = model.WantEndpoint{Link: name, MAC: desired.EndpointMAC(e.key), HostMAC: desired.HostMAC(e.key)}
	h.ends = append(h.ends, e)
	big := b.bigWords()
	return errors.Join(
		inside(h.ns, "ip link set "+name+" addrgenmode none"+big, "ip link set "+name+" up", "ip -6 addr add fe80::1/64 dev "+name+" nodad",
			"ip -6 route add "+e.addr.String()+" dev "+name,
			"ip -6 neigh add "+e.addr.String()+" dev "+name+" lladdr "+desired.EndpointMAC(e.key).String()+" nud permanent"),
		inside(e.ns, "ip link set eth0 addrgenmode none"+big, "ip link set eth0 up", "ip -6 addr add "+e.addr.String()+"/128 dev eth0 nodad",
			"ip -6 neigh add fe80::1 dev eth0 lladdr "+desired.HostMAC(e.key).String()+" nud permanent",
			"ip -6 route add default via fe80::1 dev eth0",
			// Closed connections wait for nothing: a client opens more a second than it has ports.
			"sysctl -qw net.ipv4.tcp_max_tw_buckets=0"))
}

// inside runs programs in ns.
func inside(ns *netns.NS, lines ...string) error {
	for _, line := range lines {
		words := strings.Fields(line)
		var out []byte
		err := ns.Do(func() (err error) {
			out, err = exec.Command(words[0], words[1:]...).CombinedOutput()
			return err
		})
		if err != nil {
			return fmt.Errorf("%s: %w: %s", line, err, out)
		}
	}
	return nil
}
