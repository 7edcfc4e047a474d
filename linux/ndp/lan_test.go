package ndp_test

import (
	"bufio"
	"context"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"hexapod.dev/linux/ndp"
	"hexapod.dev/linux/netns"
	"hexapod.dev/linux/netns/netnstest"
	"hexapod.dev/linux/rtnl"
)

// patience is how long a test waits for an event before it fails.
const patience = 60 * time.Second

// lan is a switch in a namespace of its own.
type lan struct {
	ns    *netns.NS
	ports int
}

// newLAN makes a switch; options are those of `ip link add type bridge`.
func newLAN(t *testing.T, options string) *lan {
	t.Helper()
	l := &lan{ns: netnstest.New(t)}
	netnstest.Run(t, l.ns, "ip link add br0 type bridge "+options)
	netnstest.Run(t, l.ns, "ip link set br0 up")
	return l
}

// node is a host on a lan; its link is eth0.
type node struct {
	ns  *netns.NS
	mac string
}

// join connects a new namespace to the switch. addrs are prefixes on its link, without duplicate address detection.
func (l *lan) join(t *testing.T, addrs ...string) *node {
	t.Helper()
	n := &node{ns: netnstest.New(t)}
	netnstest.Run(t, n.ns, "sysctl -qw net.ipv6.conf.default.accept_dad=0 net.ipv6.conf.all.forwarding=1")
	l.ports++
	netnstest.Connect(t, end(n.ns, "eth0", addrs), netnstest.End{NS: l.ns, Name: fmt.Sprintf("p%d", l.ports), Quiet: true})
	netnstest.Run(t, l.ns, fmt.Sprintf("ip link set p%d master br0", l.ports))
	netnstest.Run(t, n.ns, "ip link set lo up")
	n.mac = ready(t, n.ns)
	return n
}

func end(ns *netns.NS, name string, addrs []string) netnstest.End {
	e := netnstest.End{NS: ns, Name: name}
	for _, a := range addrs {
		e.Addrs = append(e.Addrs, netip.MustParsePrefix(a))
	}
	return e
}

// ready waits until IPv6 works on eth0, which is a moment after its carrier came, and returns its MAC.
func ready(t *testing.T, ns *netns.NS) string {
	t.Helper()
	sub, err := rtnl.Subscribe(ns, rtnl.Addresses, rtnl.Links)
	if err != nil {
		t.Fatal(err)
	}
	defer sub.Close()
	c, err := rtnl.Dial(ns)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for {
		l, _, err := c.Link("eth0")
		if err != nil {
			t.Fatal(err)
		}
		addrs, err := c.Addrs(l.Index)
		if err != nil {
			t.Fatal(err)
		}
		own := slices.ContainsFunc(addrs, func(a rtnl.Addr) bool {
			return a.Prefix.Addr().IsLinkLocalUnicast() && a.Flags&unix.IFA_F_TENTATIVE == 0
		})
		if l.Running && own { // the kernel makes the address when the link is ready
			return l.MAC.String()
		}
		if _, err := sub.Receive(ctx); err != nil {
			t.Fatalf("eth0 does not become ready: %v", err)
		}
	}
}

// cable makes two nodes with a cable between them.
func cable(t *testing.T, a, b []string) (*node, *node) {
	t.Helper()
	x, y := &node{ns: netnstest.New(t)}, &node{ns: netnstest.New(t)}
	for _, n := range []*node{x, y} {
		netnstest.Run(t, n.ns, "sysctl -qw net.ipv6.conf.default.accept_dad=0 net.ipv6.conf.all.forwarding=1")
		netnstest.Run(t, n.ns, "ip link set lo up")
	}
	netnstest.Connect(t, end(x.ns, "eth0", a), end(y.ns, "eth0", b))
	x.mac, y.mac = ready(t, x.ns), ready(t, y.ns)
	return x, y
}

// hold lets the node have addresses that no link of it has: as endpoints behind it.
func (n *node) hold(t *testing.T, addrs ...netip.Addr) {
	t.Helper()
	c, err := rtnl.Dial(n.ns)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	lo, _, err := c.Link("lo")
	if err != nil {
		t.Fatal(err)
	}
	for len(addrs) > 0 {
		batch := addrs[:min(len(addrs), 500)]
		addrs = addrs[len(batch):]
		var requests []*rtnl.Request
		for _, a := range batch {
			requests = append(requests, rtnl.AddAddr(rtnl.Addr{Index: lo.Index, Prefix: netip.PrefixFrom(a, 128)}, "lo", rtnl.Replace))
		}
		if err := c.Do(requests...); err != nil {
			t.Fatal(err)
		}
		last := batch[len(batch)-1].String()
		for begun := time.Now(); !strings.HasPrefix(netnstest.Run(t, n.ns, "ip -6 route get "+last), "local"); { // a worker of the kernel makes the routes (addrconf_dad_work), and tells nobody
			if time.Since(begun) > patience {
				t.Fatalf("the kernel does not deliver to %s", last)
			}
		}
	}
}

// background runs a body until the test ends.
func background(t *testing.T, run func(context.Context) error, last func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run ended with %v", err)
		}
		if err := last(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
}

// responder runs a responder on a node.
func (n *node) responder(t *testing.T) *ndp.Responder {
	t.Helper()
	r, err := ndp.OpenResponder(n.ns)
	if err != nil {
		t.Fatal(err)
	}
	background(t, r.Run, r.Close)
	return r
}

// answers makes a responder answer for addrs on eth0.
func answers(t *testing.T, r *ndp.Responder, addrs ...netip.Addr) {
	t.Helper()
	want := map[string][]ndp.Answer{}
	for _, a := range addrs {
		want["eth0"] = append(want["eth0"], ndp.Answer{Addr: a})
	}
	delta, err := r.Reconcile(t.Context(), want)
	if err != nil || len(delta.Add) != len(addrs) {
		t.Fatalf("Reconcile added %d of %d: %v", len(delta.Add), len(addrs), err)
	}
	again, err := r.Reconcile(t.Context(), want)
	if err != nil || !again.Empty() {
		t.Fatalf("a second Reconcile changed %v: %v", again, err)
	}
}

// ping sends one echo request and reports whether it was answered. Where nobody has the address the kernel of the node says so after 3 seconds.
func (n *node) ping(addr netip.Addr) (bool, string) {
	out, err := netnstest.Try(n.ns, "ping -6 -n -c 1 -W 20 "+addr.String())
	return err == nil, out
}

// lines runs a program in a namespace and returns the lines it prints.
func lines(t *testing.T, ns *netns.NS, line string) <-chan string {
	t.Helper()
	words := strings.Fields(line)
	cmd := exec.Command(words[0], words[1:]...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = cmd.Stdout
	netnstest.Do(t, ns, cmd.Start)
	said := make(chan string, 1000)
	go func() {
		defer close(said)
		for s := bufio.NewScanner(out); s.Scan(); {
			said <- s.Text()
		}
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		for range said { // the pipe is read to its end before Wait closes it
		}
		_ = cmd.Wait()
	})
	return said
}

// dump runs tcpdump in a namespace, with its words in line, and returns the lines it prints of the packets that come from now on.
func dump(t *testing.T, ns *netns.NS, line string) <-chan string {
	t.Helper()
	said := lines(t, ns, "tcpdump -ln "+line)
	await(t, said, "listening on ")
	return said
}

// program runs a program in a namespace until the test ends.
func program(t *testing.T, ns *netns.NS, words ...string) {
	t.Helper()
	cmd := exec.Command(words[0], words[1:]...)
	log, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = log, log
	netnstest.Do(t, ns, cmd.Start)
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		_ = log.Close()
		if t.Failed() {
			b, _ := os.ReadFile(log.Name())
			t.Logf("%s said:\n%s", words[0], b)
		}
	})
}

// await waits for a line with all of words.
func await(t *testing.T, said <-chan string, words ...string) string {
	t.Helper()
	timeout := time.After(patience)
	var seen []string
next:
	for {
		select {
		case l, open := <-said:
			if !open {
				t.Fatalf("the program ended before it said %q; it said %q", words, seen)
			}
			seen = append(seen, l)
			for _, w := range words {
				if !strings.Contains(l, w) {
					continue next
				}
			}
			return l
		case <-timeout:
			t.Fatalf("nothing said %q; the last of %d lines: %q", words, len(seen), seen[max(0, len(seen)-5):])
		}
	}
}

// until waits for a state of a body: it looks now, and again whenever the body says that something changed.
func until(t *testing.T, changed <-chan struct{}, what string, holds func() bool) {
	t.Helper()
	timeout := time.After(patience)
	for !holds() {
		select {
		case <-changed:
		case <-timeout:
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

// wanted skips the test where a program of Debian that it compares with is missing.
func wanted(t *testing.T, program string) string {
	t.Helper()
	path, err := exec.LookPath(program)
	if err == nil {
		return path
	}
	if os.Getenv("HEXAPOD_ROOT") == "1" {
		t.Fatalf("%s is missing: install the packages of test/packages.txt", program)
	}
	t.Skipf("%s is missing", program)
	return ""
}
