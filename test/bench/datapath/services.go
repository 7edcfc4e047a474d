package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	"hexapod.dev/linux/datapath/connect"
	"hexapod.dev/linux/datapath/pin"
	"hexapod.dev/model/service"
	"hexapod.dev/model/transport"
	"hexapod.dev/test/bench/work"
)

// manyServices is how many services a host has beside the one that is measured.
const manyServices = 10_000

// vipOf is the address of the i-th service; 0 is the one that is measured.
func vipOf(i int) netip.Addr {
	a := netip.MustParseAddr("2001:db8:a000:7::").As16()
	binary.BigEndian.PutUint32(a[12:], uint32(i+1))
	return netip.AddrFrom16(a)
}

// elsewhere is the j-th backend of a service that nobody asks for.
func elsewhere(i, j int) netip.Addr {
	a := netip.MustParseAddr("2001:db8:a000:c20::").As16()
	binary.BigEndian.PutUint32(a[8:], uint32(i+1))
	a[15] = byte(j + 1)
	return netip.AddrFrom16(a)
}

// serve gives a host services: each has ten backends, the one that is measured has the server. Its clients are the processes of a cgroup.
func (b *bed) serve(ctx context.Context, run string, server netip.Addr) error {
	root, err := connect.Root()
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp(root, "hexapod-bench-")
	if err != nil {
		return err
	}
	b.undo = append(b.undo, func() error { return os.Remove(dir) })
	if b.clients, err = os.Open(dir); err != nil {
		return err
	}
	b.undo = append(b.undo, b.clients.Close)
	folder, err := pin.Open(filepath.Join(run, "none"), run)
	if err != nil {
		return err
	}
	hooks, err := connect.Open(folder, dir)
	if err != nil {
		return err
	}
	b.undo = append(b.undo, func() error { return errors.Join(connect.Detach(folder), hooks.Close()) })
	list := make([]service.Frontend, manyServices+1)
	for i := range list {
		list[i] = service.Frontend{Key: service.Key{Addr: vipOf(i), Port: work.Port, Protocol: transport.TCP}}
		for j := range 10 {
			list[i].Backends = append(list[i].Backends, netip.AddrPortFrom(elsewhere(i, j), work.Port))
		}
	}
	list[0].Backends = []netip.AddrPort{netip.AddrPortFrom(server, work.Port)}
	b.target = vipOf(0)
	_, err = hooks.Reconcile(ctx, list)
	return err
}

// proxyRules is what kube-proxy writes in its nftables mode (Kubernetes 1.36, --proxy-mode nftables) for services of one work.Port, IPv6 alone:
// the chains and maps that a new connection meets, in their order and with their priorities. Services that nobody asks for have one
// endpoint each here, not ten: a connection meets none of them, and 100,000 chains take minutes to load.
func proxyRules(server netip.Addr) string {
	var b strings.Builder
	b.WriteString(`table ip6 kube-proxy {
 chain reject-chain {
  reject
 }
 chain mark-for-masquerade {
  meta mark set meta mark or 0x4000
 }
 chain masquerading {
  meta mark & 0x4000 == 0 return
  meta mark set meta mark xor 0x4000
  masquerade fully-random
 }
 map no-endpoint-services {
  type ipv6_addr . inet_proto . inet_service : verdict
 }
 map no-endpoint-nodeports {
  type inet_proto . inet_service : verdict
 }
 map firewall-ips {
  type ipv6_addr . inet_proto . inet_service : verdict
 }
 map service-nodeports {
  type inet_proto . inet_service : verdict
 }
 set nodeport-ips {
  type ipv6_addr
 }
`)
	var frontends, addresses []string
	for i := range manyServices + 1 {
		to := server
		if i > 0 {
			to = elsewhere(i, 0)
		}
		name := fmt.Sprintf("%08X-shop/s%d/tcp/http", i*2654435761&0xffffffff, i)
		endpoint := fmt.Sprintf("endpoint-%s__%s/%d", name, strings.ReplaceAll(to.String(), ":", "."), work.Port)
		fmt.Fprintf(&b, " chain %s {\n  ip6 saddr %s jump mark-for-masquerade\n  meta l4proto tcp dnat to [%s]:%d\n }\n", endpoint, to, to, work.Port)
		fmt.Fprintf(&b, " chain service-%s {\n  ip6 daddr %s tcp dport %d ip6 saddr != 2001:db8:a000::/37 jump mark-for-masquerade\n"+
			"  numgen random mod 1 vmap { 0 : goto %s }\n }\n", name, vipOf(i), work.Port, endpoint)
		frontends = append(frontends, fmt.Sprintf("%s . tcp . %d : goto service-%s", vipOf(i), work.Port, name))
		addresses = append(addresses, vipOf(i).String())
	}
	fmt.Fprintf(&b, " map service-ips {\n  type ipv6_addr . inet_proto . inet_service : verdict\n  elements = { %s }\n }\n", strings.Join(frontends, ",\n"))
	fmt.Fprintf(&b, " set cluster-ips {\n  type ipv6_addr\n  elements = { %s }\n }\n", strings.Join(addresses, ",\n"))
	b.WriteString(` chain services {
  ip6 daddr . meta l4proto . th dport vmap @service-ips
  ip6 daddr @nodeport-ips meta l4proto . th dport vmap @service-nodeports
 }
 chain service-endpoints-check {
  ip6 daddr . meta l4proto . th dport vmap @no-endpoint-services
 }
 chain nodeport-endpoints-check {
  ip6 daddr @nodeport-ips meta l4proto . th dport vmap @no-endpoint-nodeports
 }
 chain firewall-check {
  ip6 daddr . meta l4proto . th dport vmap @firewall-ips
 }
 chain cluster-ips-check {
  ip6 daddr @cluster-ips reject
 }
 chain filter-prerouting-pre-dnat {
  type filter hook prerouting priority -110
  ct state new jump firewall-check
 }
 chain nat-prerouting {
  type nat hook prerouting priority -100
  jump services
 }
 chain filter-input {
  type filter hook input priority 0
  ct state new jump nodeport-endpoints-check
  ct state new jump service-endpoints-check
 }
 chain filter-forward {
  type filter hook forward priority 0
  ct state new jump service-endpoints-check
  ct state new jump cluster-ips-check
 }
 chain filter-output-pre-dnat {
  type filter hook output priority -110
  ct state new jump firewall-check
 }
 chain nat-output {
  type nat hook output priority -100
  jump services
 }
 chain filter-output {
  type filter hook output priority 0
  ct state new jump service-endpoints-check
  ct state new jump cluster-ips-check
 }
 chain nat-postrouting {
  type nat hook postrouting priority 100
  jump masquerading
 }
}
`)
	return b.String()
}
