//go:build cluster

package prove

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"hexapod.dev/test/cluster"
	"hexapod.dev/test/cluster/internet"
)

// longFlows opens so many connections to the web server of the IPv4 Internet, asks half of a question on each, and the rest when its standard
// input ends. It says how many it opened, and then how many were answered.
const longFlows = `
for n in $(seq %d); do
	exec {c}<>/dev/tcp/%s/80 && open="$open $c" && printf 'GET / HTTP/1.0\r\n' >&$c
done
echo opened $(echo $open | wc -w)
cat >/dev/null
answered=0
for c in $open; do
	printf 'Host: %s\r\n\r\n' >&$c
	case $(timeout 60 cat <&$c) in *'"name":"four"'*) answered=$((answered + 1)) ;; esac
done
echo answered $answered
`

// A gateway is drained, as an operator does before it is switched off: connections that were open go on at the other, by their address and port, and not
// one that begins meanwhile fails. The IPv4 side, which speaks no BGP here, is told by hand that its addresses are reached at the other.
func TestInternetGatewayIsDrained(t *testing.T) {
	const flows = 20
	b := open(t)
	b.connect()
	names, _ := b.pods("glibc")
	client := b.Nodes()[len(b.Nodes())-1] // no gateway
	gone, stays := b.Gateways()[0], b.Gateways()[1]
	for _, g := range b.Gateways() {
		b.until(g+" sees both gateways", func() error { return b.gatewaysLive(g, b.Gateways()...) })
	}
	finish, said := b.long(client, sandbox(b, client, names[client]), flows)
	b.awaitWord(said, fmt.Sprint("opened ", flows))
	stop := b.fetches(names[client], internet.Web)

	legs := strings.Split(b.on("internet", "ip", "-o", "-4", "route", "show", "root", cluster.InternetPool.String()), "\n")
	b.t.Cleanup(func() { b.lead(legs, "", "") })
	b.lead(legs, gone, stays)
	if out, err := b.hexapod(gone, "drain", "--wait", "5s"); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	b.until("the other goes on alone", func() error { return b.gatewaysLive(stays, stays) })
	done, failed := stop()
	if len(failed) > 0 {
		t.Errorf("of %d fetches that began during the drain failed: %q", done+len(failed), failed)
	}
	finish()
	b.awaitWord(said, fmt.Sprint("answered ", flows))
	t.Logf("drain of a gateway: %d flows were open and go on; %d flows began, %d failed", flows, done, len(failed))
	if out, err := b.hexapod(gone, "drain", "--undo"); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for _, g := range b.Gateways() {
		b.until(g+" sees both gateways again", func() error { return b.gatewaysLive(g, b.Gateways()...) })
	}
}

// gatewaysLive is nil when a gateway says that these translate, and no others.
func (b bed) gatewaysLive(gateway string, names ...string) error {
	out, err := b.hexapod(gateway, "nat64", "show")
	if want := "gateways that translate: " + strings.Join(names, " ") + ";"; err == nil && !strings.Contains(out, want) {
		err = fmt.Errorf("it does not say %q: %s", want, out)
	}
	return err
}

// lead lets the IPv4 Internet lead what it leads to one gateway to another, as routers do when the first withdraws it; without names as it was.
func (b bed) lead(routes []string, from, to string) {
	b.t.Helper()
	via := func(gateway string) (addr string) {
		for _, r := range routes {
			if before, _, ok := strings.Cut(r, " dev to-"+gateway+" "); ok {
				_, addr, _ = strings.Cut(before, " via ")
			}
		}
		return addr
	}
	for _, r := range routes {
		words := strings.Fields(strings.TrimSpace(r))
		if len(words) == 0 || !strings.Contains(r, " via ") {
			continue
		}
		next := words[2]
		if from != "" && next == via(from) {
			next = via(to)
		}
		if _, err := netip.ParseAddr(next); err != nil {
			b.t.Fatalf("the IPv4 Internet has the route %q, of %q", r, routes)
		}
		b.on("internet", "ip", "route", "replace", words[0], "via", next)
	}
}

// long opens flows from the network of a pod that last until they are finished. What the program said comes by lines.
func (b bed) long(node, pid string, flows int) (finish func(), said <-chan string) {
	b.t.Helper()
	in, said := b.talk(node, "nsenter", "-t", pid, "-n", "bash", "-c", fmt.Sprintf(longFlows, flows, web, internet.Web))
	return func() { in.Close() }, said
}
