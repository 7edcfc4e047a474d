package ndp_test

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	twin "github.com/mdlayher/ndp"
	"golang.org/x/sys/unix"

	"hexapod.dev/linux/ndp"
	"hexapod.dev/linux/netns/netnstest"
)

// routers runs Routers on eth0 of a node.
func (n *node) routers(t *testing.T, want ndp.RouterLink) *ndp.Routers {
	t.Helper()
	r, err := ndp.OpenRouters(n.ns)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Reconcile(t.Context(), map[string]ndp.RouterLink{"eth0": want}); err != nil {
		t.Fatal(err)
	}
	background(t, r.Run, r.Close)
	return r
}

// Two routers at the ends of a cable find each other, and nobody gets a default route from that.
func TestRoutersFindEachOther(t *testing.T) {
	t.Parallel()
	a, b := cable(t, nil, nil)
	for _, n := range []*node{a, b} {
		netnstest.Run(t, n.ns, "sysctl -qw net.ipv6.conf.eth0.accept_ra=2")
	}
	ra, rb := a.routers(t, ndp.RouterLink{Advertise: true, RouterPeer: true}), b.routers(t, ndp.RouterLink{Advertise: true, RouterPeer: true})
	for _, end := range []struct {
		self *ndp.Routers
		peer *node
	}{{ra, b}, {rb, a}} {
		until(t, end.self.Changed(), "the other end is found", func() bool {
			_, found := end.self.PeerOnLink("eth0")
			return found
		})
		s := end.self.State()["eth0"]
		if len(s.Routers) != 1 || s.Routers[0].MAC.String() != end.peer.mac || s.Routers[0].Lifetime != 0 || len(s.Routers[0].Prefixes) != 0 {
			t.Errorf("found %+v, want a router with MAC %s, no lifetime, no prefix", s.Routers, end.peer.mac)
		}
	}
	if routes := netnstest.Run(t, a.ns, "ip -6 route show default"); routes != "" {
		t.Errorf("a default route came of it: %s", routes)
	}
	// The other end goes without a word.
	netnstest.Run(t, b.ns, "nft add table ip6 dead")
	netnstest.Run(t, b.ns, "nft add chain ip6 dead out { type filter hook output priority 0 ; policy drop ; }")
	if _, err := rb.Reconcile(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	until(t, ra.Changed(), "the silent peer is given up", func() bool {
		_, found := ra.PeerOnLink("eth0")
		return !found
	})
}

// A host with another implementation on the cable: it is a router that calls itself a default router, as FRR does. It is told of this
// host when it takes BGP connections, and not before.
func TestPeerWithLifetime(t *testing.T) {
	t.Parallel()
	radvd := wanted(t, "radvd")
	a, b := cable(t, nil, nil)
	runRadvd(t, radvd, b, "AdvDefaultLifetime 30;")
	said := dump(t, b.ns, "-ei eth0 icmp6[icmp6type]=134 and ether src "+a.mac)
	strict := a.routers(t, ndp.RouterLink{Advertise: true})
	until(t, strict.Changed(), "refused: a default router is there", func() bool { return strict.State()["eth0"].Why == ndp.OtherRouter })
	if _, found := strict.PeerOnLink("eth0"); !found {
		t.Error("the router is refused as company, but it is there to be found")
	}
	if _, err := strict.Reconcile(t.Context(), map[string]ndp.RouterLink{"eth0": {Advertise: true, RouterPeer: true}}); err != nil {
		t.Fatal(err)
	}
	until(t, strict.Changed(), "refused: it does not speak BGP", func() bool { return strict.State()["eth0"].Why == ndp.NotOfFabric })
	select {
	case l := <-said:
		t.Fatalf("advertised to a router that does not speak BGP: %s", l)
	default:
	}
	takeBGP(t, b)
	await(t, said, a.mac, "router advertisement")
	if s := strict.State()["eth0"]; !s.Advertises || s.Why != "" {
		t.Errorf("state %+v, want that it advertises", s)
	}
}

// takeBGP takes connections to the port of BGP and closes them at once, as FRR does with neighbours it has not heard.
func takeBGP(t *testing.T, n *node) {
	t.Helper()
	var l net.Listener
	netnstest.Do(t, n.ns, func() (err error) {
		l, err = net.Listen("tcp6", "[::]:179")
		return err
	})
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			c.Close()
		}
	}()
}

// Two of ours and radvd on one switch: ours say nothing.
func TestNothingIsAdvertisedOnALAN(t *testing.T) {
	t.Parallel()
	radvd := wanted(t, "radvd")
	for _, peer := range []bool{false, true} {
		sw := newLAN(t, "mcast_snooping 0")
		a, b, router := sw.join(t), sw.join(t), sw.join(t)
		said := dump(t, sw.ns, "-ei br0 icmp6[icmp6type]=134")
		runRadvd(t, radvd, router, "AdvDefaultLifetime 30; prefix 2001:db8:1::/64 { };")
		var bodies []*ndp.Routers
		for _, n := range []*node{a, b} {
			bodies = append(bodies, n.routers(t, ndp.RouterLink{Advertise: true, RouterPeer: peer}))
		}
		for _, r := range bodies {
			until(t, r.Changed(), "it refuses", func() bool {
				why := r.State()["eth0"].Why
				return why == ndp.ManyNeighbours || why == ndp.OtherRouter || why == ndp.NotOfFabric
			})
		}
		for heard := 0; heard < 3; { // radvd repeats itself every 3 to 4 seconds
			l := await(t, said, "router advertisement")
			if strings.Contains(l, a.mac+" >") || strings.Contains(l, b.mac+" >") {
				t.Fatalf("routerPeer %v: one of ours advertises: %s", peer, l)
			}
			heard++
		}
	}
}

func runRadvd(t *testing.T, radvd string, n *node, options string) {
	t.Helper()
	dir := t.TempDir()
	conf := filepath.Join(dir, "radvd.conf")
	text := "interface eth0 { AdvSendAdvert on; MinRtrAdvInterval 3; MaxRtrAdvInterval 4; " + options + " };\n"
	if err := os.WriteFile(conf, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	program(t, n.ns, radvd, "-n", "-C", conf, "-p", filepath.Join(dir, "radvd.pid"), "-m", "stderr")
}

// A link that is only listened to hears what a router says, also the P flag, and says nothing itself.
func TestRFC9762_ListenerHearsThePFlag(t *testing.T) {
	t.Parallel()
	a, b := cable(t, nil, nil)
	r := a.routers(t, ndp.RouterLink{})
	said := dump(t, b.ns, "-ei eth0 icmp6[icmp6type]=133 and ether src "+a.mac)
	prefix := make([]byte, 30)
	prefix[0], prefix[1] = 64, 0x90 // on the link, P
	prefix[5], prefix[9] = 60, 60
	copy(prefix[14:], netip.MustParseAddr("2001:db8:1::").AsSlice())
	ra := &twin.RouterAdvertisement{Options: []twin.Option{&twin.RawOption{Type: 3, Length: 4, Value: prefix}, &twin.RawOption{Type: 222, Length: 1, Value: make([]byte, 6)}}}
	b.shout(t, ra)
	until(t, r.Changed(), "the router is heard", func() bool { return len(r.State()["eth0"].Routers) == 1 })
	s := r.State()["eth0"]
	if !s.Routers[0].Delegates() || s.Advertises || s.Why != "" || s.Sent != 0 {
		t.Errorf("state %+v, want a router that delegates, and silence on our side", s)
	}
	select {
	case l := <-said:
		t.Errorf("a link that is only listened to was asked: %s", l)
	default:
	}
}

// shout sends one message from the link-local address of the node to all nodes, as another implementation writes it.
func (n *node) shout(t *testing.T, m twin.Message) {
	t.Helper()
	b, err := twin.MarshalMessage(m)
	if err != nil {
		t.Fatal(err)
	}
	f, link := n.icmp(t)
	defer f.Close()
	if err := unix.Sendto(int(f.Fd()), b, 0, &unix.SockaddrInet6{Addr: netip.MustParseAddr("ff02::1").As16(), ZoneId: uint32(link)}); err != nil {
		t.Fatal(err)
	}
}

// icmp opens a raw ICMPv6 socket on eth0 of a node, whose index it returns. Package net is of no use here: it remembers for the whole process
// which index the name of a link has, and eth0 has another one in each namespace.
func (n *node) icmp(t *testing.T) (f *os.File, link int) {
	t.Helper()
	netnstest.Do(t, n.ns, func() error {
		eth0, err := net.InterfaceByName("eth0")
		if err != nil {
			return err
		}
		link = eth0.Index
		fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.IPPROTO_ICMPV6)
		if err != nil {
			return err
		}
		f = os.NewFile(uintptr(fd), "icmp")
		return errors.Join(
			unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_MULTICAST_IF, link),
			unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_MULTICAST_HOPS, 255), // RFC 4861 6.1.2
		)
	})
	return f, link
}

// Prefixes for NAT64 are told to every node of a LAN, beside its router. Another implementation reads
// them; the programs of Debian 12 do not know the option.
func TestRFC8781_4_PrefixesAreTold(t *testing.T) {
	t.Parallel()
	radvd := wanted(t, "radvd")
	sw := newLAN(t, "mcast_snooping 0")
	a, b, router, c := sw.join(t), sw.join(t), sw.join(t), sw.join(t)
	runRadvd(t, radvd, router, "AdvDefaultLifetime 30; prefix 2001:db8:1::/64 { };")
	heard := make(chan *twin.RouterAdvertisement, 100)
	socket, _ := b.icmp(t) // every node is in the group of all nodes
	t.Cleanup(func() { socket.Close() })
	go func() {
		buf := make([]byte, 1500)
		for {
			n, err := socket.Read(buf)
			if err != nil {
				return
			}
			m, err := twin.ParseMessage(buf[:n])
			if ra, ok := m.(*twin.RouterAdvertisement); err == nil && ok && slices.ContainsFunc(ra.Options, isPref64) {
				heard <- ra
			}
		}
	}()
	want := []netip.Prefix{netip.MustParsePrefix("64:ff9b::/96"), netip.MustParsePrefix("2001:db8:64::/48")}
	r := a.routers(t, ndp.RouterLink{Advertise: true, Pref64: want})
	told := func(want []netip.Prefix) {
		t.Helper()
		timeout := time.After(time.Minute)
		for {
			var ra *twin.RouterAdvertisement
			select {
			case ra = <-heard:
			case <-timeout:
				t.Fatalf("no advertisement of %v", want)
			}
			var got []netip.Prefix
			for _, o := range ra.Options {
				if p, ok := o.(*twin.PREF64); ok && p.Lifetime == 32*time.Second { // three of the longest intervals, in steps of 8
					got = append(got, p.Prefix)
				}
			}
			if ra.RouterLifetime != 0 {
				t.Errorf("told by a router of lifetime %s, want 0", ra.RouterLifetime)
			}
			if slices.Equal(got, want) {
				return
			}
		}
	}
	told(want)
	rc := c.routers(t, ndp.RouterLink{}) // our own side of it
	until(t, rc.Changed(), "the prefixes are heard", func() bool {
		return slices.Equal(toldOn(rc), []netip.Prefix{want[0], want[1]})
	})
	if _, err := r.Reconcile(t.Context(), map[string]ndp.RouterLink{"eth0": {Advertise: true, Pref64: want[1:], Over: want[:1]}}); err != nil {
		t.Fatal(err)
	}
	told(want[1:])
	until(t, rc.Changed(), "the one that is over is forgotten", func() bool { return slices.Equal(toldOn(rc), want[1:]) })
}

// toldOn are the prefixes that are told to a host.
func toldOn(r *ndp.Routers) (out []netip.Prefix) {
	for _, p := range r.State()["eth0"].Told {
		out = append(out, p.Prefix)
	}
	return out
}

// A host that looks for a NAT64 asks the routers of a LAN, which may be as quiet as they like; it forgets what a router takes back, and keeps
// what another one says without it.
func TestRFC8781_4_1_RouterIsAskedAndWithdraws(t *testing.T) {
	sw := newLAN(t, "mcast_snooping 0")
	a, router := sw.join(t), sw.join(t)
	asked := lines(t, router.ns, "tcpdump -lnei eth0 icmp6[icmp6type]=133 and ether src "+a.mac)
	r := a.routers(t, ndp.RouterLink{Ask: true})
	select {
	case <-asked:
	case <-time.After(patience):
		t.Fatal("no router was asked")
	}
	wkp, own := netip.MustParsePrefix("64:ff9b::/96"), netip.MustParsePrefix("2001:db8:64::/96")
	tell := func(options ...twin.Option) { t.Helper(); router.shout(t, &twin.RouterAdvertisement{Options: options}) }
	tell(&twin.PREF64{Prefix: own, Lifetime: 600 * time.Second}, &twin.PREF64{Prefix: wkp, Lifetime: 600 * time.Second})
	until(t, r.Changed(), "two prefixes are told", func() bool { return slices.Equal(toldOn(r), []netip.Prefix{wkp, own}) })
	tell() // says nothing of them
	tell(&twin.PREF64{Prefix: own, Lifetime: 0})
	until(t, r.Changed(), "one is taken back", func() bool { return slices.Equal(toldOn(r), []netip.Prefix{wkp}) })
	reserved := make([]byte, 14)
	reserved[1] = 8 | 7 // eight seconds, and a length code that nobody knows
	tell(&twin.RawOption{Type: 38, Length: 2, Value: reserved})
	until(t, r.Changed(), "what cannot be read is named", func() bool {
		return slices.ContainsFunc(r.State()["eth0"].Told, func(p ndp.Told) bool { return p.Reserved })
	})
	if s := r.State()["eth0"]; s.Advertises || len(s.Routers) != 1 {
		t.Errorf("state %+v, want one router, and nothing advertised", s)
	}
}

func isPref64(o twin.Option) bool { _, is := o.(*twin.PREF64); return is }
