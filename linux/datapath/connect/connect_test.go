package connect

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"hexapod.dev/linux/datapath/pin"
	"hexapod.dev/linux/netns"
	"hexapod.dev/linux/netns/netnstest"
	"hexapod.dev/model/service"
	"hexapod.dev/model/transport"
)

// world is a namespace with backends, a cgroup with the hooks, and a client in both.
type world struct {
	*client
	hooks  *Hooks
	ns     *netns.NS
	cgroup string
	folder *pin.Folder
	server *servers
}

func newWorld(t *testing.T) *world {
	t.Helper()
	ns := netnstest.New(t)
	netnstest.Run(t, ns, "ip link set lo up")
	// Every address of these ranges is this host. Addresses on lo would do, were it not for the route of their prefix: Linux 6.18
	// sometimes takes it for the first packet to an address, and that route leads nowhere.
	netnstest.Run(t, ns, "ip -6 route add local 2001:db8:1::/64 dev lo")
	netnstest.Run(t, ns, "ip route add local 198.51.100.0/24 dev lo")
	netnstest.Run(t, ns, "sysctl -q net.ipv6.ip_nonlocal_bind=1")
	w := &world{ns: ns, cgroup: newCgroup(t), folder: folder(t), server: &servers{t: t, ns: ns, seen: map[netip.AddrPort]int{}}}
	w.open(t)
	w.client = newClient(t, ns, w.cgroup)
	return w
}

// open loads the hooks as a new agent does.
func (w *world) open(t *testing.T) {
	t.Helper()
	var err error
	if w.hooks, err = Open(w.folder, w.cgroup); err != nil {
		t.Fatal(err)
	}
	h := w.hooks
	t.Cleanup(func() {
		if err := h.Close(); err != nil {
			t.Error(err)
		}
	})
}

func folder(t testing.TB) *pin.Folder {
	t.Helper()
	netnstest.Root(t)
	run := t.TempDir()
	f, err := pin.Open(filepath.Join(run, "none"), run)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(Detach(f), f.Remove()); err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Error(err)
		}
	})
	return f
}

// servers are what listens on the loopback of a namespace, and who was reached how often.
type servers struct {
	t  *testing.T
	ns *netns.NS

	mu   sync.Mutex
	seen map[netip.AddrPort]int
}

// count returns how often each was reached since the last call.
func (s *servers) count() map[netip.AddrPort]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := s.seen
	s.seen = map[netip.AddrPort]int{}
	return out
}

func (s *servers) saw(a netip.AddrPort) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seen[a]++
}

// tcp listens, greets whoever connects with one byte and answers every byte, until the test ends or kill is called.
func (s *servers) tcp(at netip.AddrPort) (kill func()) {
	s.t.Helper()
	var l *net.TCPListener
	netnstest.Do(s.t, s.ns, func() (err error) {
		l, err = net.ListenTCP("tcp", net.TCPAddrFromAddrPort(at))
		return err
	})
	var mu sync.Mutex
	var conns []*net.TCPConn
	kill = func() {
		l.Close()
		mu.Lock()
		defer mu.Unlock()
		for _, c := range conns {
			c.Close()
		}
	}
	s.t.Cleanup(kill)
	go func() {
		for {
			c, err := l.AcceptTCP()
			if err != nil {
				return
			}
			s.saw(at)
			mu.Lock()
			conns = append(conns, c)
			mu.Unlock()
			go func() {
				defer c.Close()
				b := []byte("x")
				for {
					if _, err := c.Write(b); err != nil {
						return
					}
					if _, err := c.Read(b); err != nil {
						return
					}
				}
			}()
		}
	}()
	return kill
}

// udp answers every datagram, until the test ends or kill is called.
func (s *servers) udp(at netip.AddrPort) (kill func()) {
	s.t.Helper()
	var c *net.UDPConn
	netnstest.Do(s.t, s.ns, func() (err error) {
		c, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(at))
		return err
	})
	s.t.Cleanup(func() { c.Close() })
	go func() {
		var b [64]byte
		for {
			n, from, err := c.ReadFromUDPAddrPort(b[:])
			if err != nil {
				return
			}
			s.saw(at)
			_, _ = c.WriteToUDPAddrPort(b[:n], from)
		}
	}()
	return func() { c.Close() }
}

var (
	vip  = netip.MustParseAddrPort("[2001:db8:f::1]:80")
	vip4 = netip.MustParseAddrPort("192.0.2.1:80")
)

func backendsOf(list ...string) []netip.AddrPort {
	var out []netip.AddrPort
	for _, s := range list {
		out = append(out, netip.MustParseAddrPort(s))
	}
	return out
}

func frontend(at netip.AddrPort, p transport.Protocol, backends ...netip.AddrPort) service.Frontend {
	return service.Frontend{Key: service.Key{Addr: at.Addr(), Port: at.Port(), Protocol: p}, Backends: backends}
}

func (w *world) reconcile(list ...service.Frontend) {
	w.t.Helper()
	if _, err := w.hooks.Reconcile(context.Background(), list); err != nil {
		w.t.Fatal(err)
	}
}

var three = backendsOf("[2001:db8:1::1]:8080", "[2001:db8:1::2]:8080", "[2001:db8:1::3]:8081")

func TestConnect(t *testing.T) {
	w := newWorld(t)
	for _, b := range three {
		w.server.tcp(b)
	}
	w.reconcile(frontend(vip, transport.TCP, three...))
	s := w.connect("tcp", vip)
	if p := w.do(order{Do: "peer", Sock: s}).From; p != vip {
		t.Errorf("the socket thinks it talks to %s, not %s", p, vip)
	}
	if r := w.try(order{Do: "connect", Sock: w.do(order{Do: "open", To: vip}).Sock, To: netip.AddrPortFrom(vip.Addr(), 81)}); r.Err != "ECONNREFUSED" {
		t.Errorf("a port the service does not have: %q, want ECONNREFUSED", r.Err)
	}
	w.reconcile(frontend(vip, transport.TCP))
	if r := w.try(order{Do: "connect", Sock: w.do(order{Do: "open", To: vip}).Sock, To: vip}); r.Err != "ECONNREFUSED" {
		t.Errorf("without backends: %q, want ECONNREFUSED", r.Err)
	}
	w.reconcile()
	if r := w.try(order{Do: "connect", Sock: w.do(order{Do: "open", To: vip}).Sock, To: vip}); r.Err != "ENETUNREACH" {
		t.Errorf("without the service: %q, want ENETUNREACH", r.Err)
	}
	have, err := w.hooks.Tally()
	if err != nil || have.Connected != 1 || have.Refused != 2 {
		t.Errorf("tally %+v, %v, want 1 connected and 2 refused", have, err)
	}
}

// Mark: three backends within 5 % over 30,000 connections.
func TestBalance(t *testing.T) {
	w := newWorld(t)
	for _, b := range three {
		w.server.tcp(b)
	}
	w.reconcile(frontend(vip, transport.TCP, three...))
	w.server.count()
	const n = 30_000
	w.do(order{Do: "burst", To: vip, Times: n})
	w.do(order{Do: "peer", Sock: w.connect("tcp", vip)}) // accepted after all before
	got := w.server.count()
	for _, b := range three {
		if share := float64(got[b]) * 3 / n; share < 0.95 || share > 1.05 {
			t.Errorf("%s was reached %d times of %d", b, got[b], n)
		}
	}
}

// A socket of either family, datagrams of connected and of other sockets, and IPv4 through an IPv6 socket (RFC 4291 2.5.5.2).
func TestFamilies(t *testing.T) {
	w := newWorld(t)
	b6, b4 := netip.MustParseAddrPort("[2001:db8:1::1]:53"), netip.MustParseAddrPort("198.51.100.1:53")
	w.server.udp(b6)
	w.server.udp(b4)
	w.server.tcp(b6)
	w.server.tcp(b4)
	w.reconcile(frontend(vip, transport.UDP, b6), frontend(vip4, transport.UDP, b4), frontend(vip, transport.TCP, b6), frontend(vip4, transport.TCP, b4))
	mapped := netip.AddrPortFrom(netip.AddrFrom16(vip4.Addr().As16()), vip4.Port())
	for _, c := range []struct {
		name string
		to   netip.AddrPort
		any  bool
		want netip.AddrPort
	}{
		{"IPv6", vip, false, vip}, {"IPv4", vip4, false, vip4}, {"IPv4 through an IPv6 socket", vip4, true, mapped},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := w.do(order{Do: "open", Type: "udp", To: c.to, V6Any: c.any}).Sock
			for range 3 {
				w.do(order{Do: "send", Sock: s, To: c.to, V6Any: c.any})
				if from := w.do(order{Do: "recv", Sock: s}).From; from != c.want {
					t.Errorf("unconnected: the answer comes from %s, not %s", from, c.want)
				}
			}
			w.do(order{Do: "connect", Sock: s, To: c.to, V6Any: c.any})
			w.do(order{Do: "write", Sock: s})
			if from := w.do(order{Do: "recv", Sock: s}).From; from != c.want {
				t.Errorf("connected: the answer comes from %s, not %s", from, c.want)
			}
			if from := w.do(order{Do: "peer", Sock: s}).From; from != c.want {
				t.Errorf("connected: the peer is %s, not %s", from, c.want)
			}
			s = w.do(order{Do: "open", Type: "tcp", To: c.to, V6Any: c.any}).Sock
			w.do(order{Do: "connect", Sock: s, To: c.to, V6Any: c.any})
			if from := w.do(order{Do: "peer", Sock: s}).From; from != c.want {
				t.Errorf("TCP: the peer is %s, not %s", from, c.want)
			}
		})
	}
}

// Processes outside the cgroup are not led, nor are those of a namespace that is left alone.
func TestWhoIsLed(t *testing.T) {
	w := newWorld(t)
	w.server.tcp(three[0])
	w.reconcile(frontend(vip, transport.TCP, three[0]))
	outside := newClient(t, w.ns, newCgroup(t))
	if r := outside.try(order{Do: "connect", Sock: outside.do(order{Do: "open", To: vip}).Sock, To: vip}); r.Err != "ENETUNREACH" {
		t.Errorf("outside the cgroup: %q, want ENETUNREACH", r.Err)
	}
	var cookie uint64
	netnstest.Do(t, w.ns, func() (err error) {
		fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_DGRAM, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		cookie, err = unix.GetsockoptUint64(fd, unix.SOL_SOCKET, unix.SO_NETNS_COOKIE)
		return err
	})
	for _, c := range []struct {
		leave []uint64
		err   string
	}{{[]uint64{cookie, 1 << 40}, "ENETUNREACH"}, {[]uint64{1 << 40}, ""}, {nil, ""}} {
		if err := w.hooks.Bypass(c.leave); err != nil {
			t.Fatal(err)
		}
		if r := w.try(order{Do: "connect", Sock: w.do(order{Do: "open", To: vip}).Sock, To: vip}); r.Err != c.err {
			t.Errorf("with %d left alone: %q, want %q", c.leave, r.Err, c.err)
		}
	}
}

// What was made goes on without a process and is found again, every backend in its slot; what stood half written is mended.
func TestGoesOnWithoutAProcess(t *testing.T) {
	w := newWorld(t)
	for _, b := range three {
		w.server.tcp(b)
	}
	web := frontend(vip, transport.TCP, three...)
	web.AffinitySeconds = 60
	empty := frontend(vip4, transport.UDP)
	w.reconcile(web, empty)
	before := slices.Clone(w.hooks.entries[web.Key].slots)
	w.open(t) // a second one over the first, as after a crash
	w.connect("tcp", vip)
	if after := w.hooks.entries[web.Key]; after == nil || !slices.Equal(after.slots, before) || after.affinity != 60 {
		t.Fatalf("taken over: %+v, want slots %v", after, before)
	}
	delta, err := w.hooks.Reconcile(t.Context(), []service.Frontend{web, empty})
	if err != nil || !delta.Empty() {
		t.Errorf("the second process changed %+v, %v", delta, err)
	}
	// As if the process had ended between two writes: a table is missing, another leads nowhere, an address has no owner.
	id := w.hooks.entries[web.Key].id
	if err := errors.Join(
		w.hooks.maps.tables[1].Delete(id), w.hooks.maps.frontends.Delete(keyBytes(owner(vip.Addr()))),
		w.hooks.putTable(77, service.Next(nil, three)), w.hooks.maps.frontends.Put(keyBytes(owner(three[0].Addr())), value{empty: true}.bytes()),
	); err != nil {
		t.Fatal(err)
	}
	w.open(t)
	if r := w.try(order{Do: "connect", Sock: w.do(order{Do: "open", To: vip}).Sock, To: vip}); r.Err != "ECONNREFUSED" {
		t.Errorf("a frontend without a table: %q, want ECONNREFUSED", r.Err)
	}
	delta, err = w.hooks.Reconcile(t.Context(), []service.Frontend{web, empty})
	if err != nil || !slices.Equal(delta.Change, []string{web.Key.String()}) || len(delta.Add)+len(delta.Remove) != 0 {
		t.Errorf("mending changed %+v, %v", delta, err)
	}
	w.connect("tcp", vip)
	for class, m := range w.hooks.maps.tables {
		ids, err := keysOf[uint32](m)
		if want := map[int]int{1: 1}[class]; err != nil || len(ids) != want {
			t.Errorf("class %d: tables %v, %v, want %d", class, ids, err, want)
		}
	}
	if err := Detach(w.folder); err != nil {
		t.Fatal(err)
	}
	if r := w.try(order{Do: "connect", Sock: w.do(order{Do: "open", To: vip}).Sock, To: vip}); r.Err != "ENETUNREACH" {
		t.Errorf("taken off: %q, want ENETUNREACH", r.Err)
	}
}

// There is no moment without backends while they come and go and the table grows through every size.
func TestNoMomentWithoutBackends(t *testing.T) {
	w := newWorld(t)
	w.server.tcp(netip.MustParseAddrPort("[::]:8080"))
	var list []netip.AddrPort
	for a := netip.MustParseAddr("2001:db8:1::1"); len(list) < 700; a = a.Next() {
		list = append(list, netip.AddrPortFrom(a, 8080))
	}
	w.reconcile(frontend(vip, transport.TCP, list[0]))
	done := make(chan outcome)
	go func() { done <- w.try(order{Do: "burst", To: vip, Times: 5000}) }()
	for n := 1; ; n = n%len(list) + 37 {
		from := n * 7 % len(list)
		some := slices.Concat(list[from:], list[:from])[:min(n, len(list))]
		slices.SortFunc(some, netip.AddrPort.Compare)
		w.reconcile(frontend(vip, transport.TCP, some...))
		select {
		case r := <-done:
			if r.Err != "" {
				t.Errorf("a connection failed meanwhile: %s", r.Err)
			}
			return
		default:
		}
	}
}

// A connected datagram socket hears that its backend has gone; one that connected to the backend itself does not, nor does one of
// another backend.
func TestCut(t *testing.T) {
	w := newWorld(t)
	first, second := backendsOf("[2001:db8:1::1]:53")[0], backendsOf("[2001:db8:1::2]:53")[0]
	b4 := netip.MustParseAddrPort("198.51.100.1:53")
	for _, b := range []netip.AddrPort{first, second, b4} {
		w.server.udp(b)
	}
	other := netip.AddrPortFrom(vip.Addr(), 54)
	w.reconcile(frontend(vip, transport.UDP, first), frontend(other, transport.UDP, second), frontend(vip4, transport.UDP, b4))
	led, direct, elsewhere := w.connect("udp", vip), w.connect("udp", first), w.connect("udp", other)
	mapped := w.do(order{Do: "open", Type: "udp", To: vip4, V6Any: true}).Sock
	w.do(order{Do: "connect", Sock: mapped, To: vip4, V6Any: true})
	plain := w.connect("udp", vip4)
	if gone := w.hooks.TakeDropped(); len(gone) != 0 {
		t.Fatalf("%v are gone before anything changed", gone)
	}
	w.reconcile(frontend(vip, transport.UDP), frontend(other, transport.UDP, second))
	gone := w.hooks.TakeDropped()
	if !slices.Equal(gone, []netip.AddrPort{b4, first}) {
		t.Fatalf("gone: %v", gone)
	}
	n, err := w.hooks.Cut(w.ns, gone)
	if err != nil || n != 3 {
		t.Errorf("%d sockets cut, %v, want 3", n, err)
	}
	for _, c := range []struct {
		name string
		sock int
		err  string
	}{{"led", led, "ECONNABORTED"}, {"mapped", mapped, "ECONNABORTED"}, {"IPv4", plain, "ECONNABORTED"}, {"direct", direct, ""}, {"another backend", elsewhere, ""}} {
		if c.err == "" {
			w.do(order{Do: "write", Sock: c.sock})
		}
		if r := w.try(order{Do: "recv", Sock: c.sock}); r.Err != c.err {
			t.Errorf("%s: %q, want %q", c.name, r.Err, c.err)
		}
	}
}

// Living connections stay where they are: one more backend breaks none, and one that is killed takes its own with it.
func TestLivingConnections(t *testing.T) {
	w := newWorld(t)
	kill := map[netip.AddrPort]func(){}
	for _, b := range three {
		kill[b] = w.server.tcp(b)
	}
	w.reconcile(frontend(vip, transport.TCP, three[:2]...))
	at := map[int]netip.AddrPort{} // where each connection went
	for range 40 {
		w.server.count()
		s := w.connect("tcp", vip)
		w.do(order{Do: "recv", Sock: s})
		for b := range w.server.count() {
			at[s] = b
		}
	}
	alive := func(sock int) bool {
		return w.try(order{Do: "write", Sock: sock}).Err == "" && w.try(order{Do: "recv", Sock: sock}).Err == ""
	}
	w.reconcile(frontend(vip, transport.TCP, three...))
	for s, b := range at {
		if !alive(s) {
			t.Errorf("a connection to %s broke when another backend came", b)
		}
	}
	kill[three[0]]()
	w.reconcile(frontend(vip, transport.TCP, three[1:]...))
	broken := 0
	for s, b := range at {
		w.try(order{Do: "write", Sock: s}) // the first write after a reset is told of it only later
		switch is := alive(s); {
		case is != (b != three[0]):
			t.Errorf("a connection to %s: alive %v after %s was killed", b, is, three[0])
		case !is:
			broken++
		}
	}
	if broken == 0 || broken == len(at) {
		t.Errorf("%d of %d connections went to the killed backend: the test asks nothing", broken, len(at))
	}
	for range 40 {
		w.connect("tcp", vip)
	}
}
