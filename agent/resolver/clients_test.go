package resolver

import (
	"context"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	mdns "github.com/miekg/dns"

	"hexapod.dev/edge/dns"
	"hexapod.dev/linux/datagram"
	"hexapod.dev/linux/netns"
	"hexapod.dev/linux/netns/netnstest"
	"hexapod.dev/model/dns64"
	"hexapod.dev/model/xlat"
)

// world is the upstream of everything: names of a cluster, and names outside it.
type world struct {
	mu    sync.Mutex
	asked []string
}

var worldNames = map[string]string{
	"four.example. A":                   "four.example. 30 IN A 8.0.0.1",
	"six.example. AAAA":                 "six.example. 30 IN AAAA 2001:db8:9::6",
	"six.example. A":                    "six.example. 30 IN A 8.0.0.6",
	"web.shop.svc.cluster.test. AAAA":   "web.shop.svc.cluster.test. 5 IN AAAA 2001:db8:1::77",
	"four.shop.svc.cluster.test. A":     "four.shop.svc.cluster.test. 5 IN A 10.0.0.9",
	"alias.example. A":                  "alias.example. 30 IN CNAME four.example.; four.example. 30 IN A 8.0.0.1",
	"alias.example. AAAA":               "alias.example. 30 IN CNAME four.example.",
	"web.shop.svc.cluster.test. exists": "", "four.example. exists": "", "four.shop.svc.cluster.test. exists": "",
}

func (w *world) ServeDNS(out mdns.ResponseWriter, q *mdns.Msg) {
	name, typ := mdns.CanonicalName(q.Question[0].Name), mdns.TypeToString[q.Question[0].Qtype]
	w.mu.Lock()
	w.asked = append(w.asked, name+" "+typ)
	w.mu.Unlock()
	r := new(mdns.Msg).SetReply(q)
	text, ok := worldNames[name+" "+typ]
	for line := range strings.SplitSeq(text, ";") {
		if rr, err := mdns.NewRR(strings.TrimSpace(line)); err == nil && rr != nil {
			r.Answer = append(r.Answer, rr)
		}
	}
	if !ok {
		if _, exists := worldNames[name+" exists"]; !exists {
			r.Rcode = mdns.RcodeNameError
		}
	}
	if len(r.Answer) == 0 {
		zone := "example."
		if strings.HasSuffix(name, "cluster.test.") {
			zone = "cluster.test."
		}
		soa, _ := mdns.NewRR(zone + " 30 IN SOA ns." + zone + " h." + zone + " 1 2 3 4 30")
		r.Ns = append(r.Ns, soa)
	}
	_ = out.WriteMsg(r)
}

// questions counts what was asked since the last call, in the cluster's zone and outside it.
func (w *world) questions() (cluster, outside int, all []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	all, w.asked = w.asked, nil
	for _, q := range all {
		if strings.Contains(q, "cluster.test.") {
			cluster++
		} else {
			outside++
		}
	}
	return cluster, outside, all
}

// place is a client in a namespace, beside the one where the server answers.
type place struct {
	t      *testing.T
	client *netns.NS
	server *dns.Server
	config dns.Config
	world  *world
	folder string
}

const (
	serverAt = "2001:db8:1::1"
	clientAt = "2001:db8:1::5"
)

func newPlace(t *testing.T) *place {
	p := &place{t: t, client: netnstest.New(t), world: &world{}, folder: t.TempDir()}
	host := netnstest.New(t)
	netnstest.Connect(t, netnstest.End{NS: p.client, Name: "eth0", Addrs: []netip.Prefix{netip.MustParsePrefix(clientAt + "/64")}},
		netnstest.End{NS: host, Name: "pod0", Addrs: []netip.Prefix{netip.MustParsePrefix(serverAt + "/64")}})
	upstream, err := net.ListenUDP("udp6", &net.UDPAddr{IP: net.IPv6loopback})
	if err != nil {
		t.Fatal(err)
	}
	w := &mdns.Server{PacketConn: upstream, Handler: p.world}
	served := make(chan error, 1)
	go func() { served <- w.ActivateAndServe() }()
	t.Cleanup(func() { upstream.Close(); <-served })
	at := upstream.LocalAddr().(*net.UDPAddr).AddrPort()
	p.config = dns.Config{
		Policy: dns64.Policy{Prefixes: []dns64.Pref64{{Pref64: xlat.WellKnown}}, Never: []string{"cluster.test."}},
		Zones:  []dns.Zone{{Name: ".", Upstreams: []dns.Upstream{{Addr: at, Via: dns.UDP}}}},
		Allow:  []netip.Prefix{netip.MustParsePrefix("2001:db8:1::/64")},
	}
	if p.server, err = dns.New(p.config, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	here := netip.AddrPortFrom(netip.MustParseAddr(serverAt), Port)
	var c *net.UDPConn
	var l *net.TCPListener
	netnstest.Do(t, host, func() (err error) {
		if c, err = net.ListenUDP("udp6", net.UDPAddrFromAddrPort(here)); err == nil {
			l, err = net.ListenTCP("tcp6", net.TCPAddrFromAddrPort(here))
		}
		return err
	})
	d, err := datagram.New(c)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- p.server.Serve(ctx, []dns.Datagrams{d}, []*net.TCPListener{l}) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		c.Close()
		l.Close()
	})
	p.files()
	return p
}

// files writes what clients read, and builds one against musl.
func (p *place) files() {
	p.t.Helper()
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(p.folder, name), []byte(text), 0o644); err != nil {
			p.t.Fatal(err)
		}
	}
	// As kubelet writes it (dnsPolicy ClusterFirst).
	write("resolv.conf", "nameserver "+serverAt+"\nsearch shop.svc.cluster.test svc.cluster.test cluster.test\noptions ndots:5\n")
	write("nsswitch.conf", "hosts: dns\n")
	write("client.c", `#include <netdb.h>
#include <stdio.h>
#include <arpa/inet.h>
int main(int argc, char **argv) {
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *all, *a;
	int failed = getaddrinfo(argv[1], 0, &hints, &all);
	if (failed) { printf("%s\n", gai_strerror(failed)); return 1; }
	for (a = all; a; a = a->ai_next) {
		char text[64];
		getnameinfo(a->ai_addr, a->ai_addrlen, text, sizeof text, 0, 0, NI_NUMERICHOST);
		puts(text);
	}
	return 0;
}
`)
	for _, libc := range []struct{ name, compiler string }{{"musl", "musl-gcc"}, {"glibc", "gcc"}} {
		out, err := exec.Command(libc.compiler, "-o", filepath.Join(p.folder, libc.name), filepath.Join(p.folder, "client.c"), staticFor[libc.name]).CombinedOutput()
		if err != nil {
			p.t.Fatalf("build a client with %s: %v: %s", libc.compiler, err, out)
		}
	}
}

// staticFor says how a client finds its libc: musl is not the machine's.
var staticFor = map[string]string{"musl": "-static", "glibc": "-O1"}

// look asks by the resolver of a libc and returns the addresses, sorted.
func (p *place) look(libc, name string) string {
	p.t.Helper()
	cmd := exec.Command("unshare", "-m", "sh", "-c", `mount --bind "$1/resolv.conf" /etc/resolv.conf && mount --bind "$1/nsswitch.conf" /etc/nsswitch.conf && exec "$1/$2" "$3"`,
		"sh", p.folder, libc, name)
	var out []byte
	netnstest.Do(p.t, p.client, func() error {
		out, _ = cmd.CombinedOutput() // a name that is not there is an error, too
		return nil
	})
	list := strings.Fields(strings.ReplaceAll(string(out), "\n", "; "))
	lines := strings.Split(strings.Trim(strings.Join(list, " "), "; "), "; ")
	slices.Sort(lines)
	return strings.Join(lines, " ")
}

// Resolvers of the two libcs find the same by a name, behind the search list of a pod; and it costs little: nothing outside the cluster
// is asked twice, and the second time nobody is asked at all.
func TestClientsWithSearchDomains(t *testing.T) {
	netnstest.Root(t)
	p := newPlace(t)
	for _, tc := range []struct {
		name, want       string
		cluster, outside int // questions at most, the first time
	}{
		{"four.example", "64:ff9b::800:1 8.0.0.1", 6, 2},
		{"six.example", "2001:db8:9::6 8.0.0.6", 6, 2},
		{"alias.example", "64:ff9b::800:1 8.0.0.1", 6, 2},
		{"web", "2001:db8:1::77", 2, 0},
		{"web.shop", "2001:db8:1::77", 4, 0},
		{"web.shop.svc.cluster.test", "2001:db8:1::77", 8, 0},
		{"four", "10.0.0.9", 2, 0}, // a name of the cluster with IPv4: nothing is made
		{"nothere.example", "", 6, 2},
	} {
		for i, libc := range []string{"glibc", "musl"} {
			got := p.look(libc, tc.name)
			if tc.want == "" && strings.Contains(got, ":") || tc.want != "" && got != tc.want {
				t.Errorf("%s finds %q by %s, want %q", libc, got, tc.name, tc.want)
			}
			cluster, outside, all := p.world.questions()
			if i == 0 && (cluster > tc.cluster || outside > tc.outside) || i > 0 && len(all) > 0 {
				t.Errorf("%s, %s: %d questions in the cluster's zone and %d outside it: %s", tc.name, libc, cluster, outside, strings.Join(all, ", "))
			}
		}
	}

	p.config.Clients.Capable = p.config.Allow
	if err := p.server.Configure(p.config); err != nil {
		t.Fatal(err)
	}
	for _, libc := range []string{"glibc", "musl"} { // a client with IPv4 of its own: what is, and nothing made
		if got := p.look(libc, "four.example"); got != "8.0.0.1" {
			t.Errorf("%s with IPv4 finds %q", libc, got)
		}
	}
}
