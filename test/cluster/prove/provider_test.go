//go:build cluster

package prove

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"hexapod.dev/lab/probe"
	"hexapod.dev/model/xlat"
	"hexapod.dev/test/cluster"
	"hexapod.dev/test/cluster/internet"
)

// provided is what an operator applies whose provider has a NAT64.
const provided = `
apiVersion: hexapod.dev/v1alpha1
kind: Translation
metadata: {name: provider}
spec:
  upstream: {discover: [ra]}
`

// The NAT64 of a provider, Debian's tayga behind the fabric: the nodes hear its prefix from their ToRs (RFC 8781), and pods and nodes reach servers that have
// IPv4 alone by name, while nothing is translated here. When the prefix is over, names lead nowhere.
func TestInternetByProvider(t *testing.T) {
	by := netip.MustParsePrefix("2001:db8:64::/96")
	prefix, err := xlat.NewPref64(by)
	if err != nil {
		t.Fatal(err)
	}
	b := open(t)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := b.Unprovide(ctx); err != nil {
			t.Error(err)
		}
	})
	if err := b.Provide(t.Context(), by); err != nil {
		t.Fatal(err)
	}
	b.apply(provided)
	b.lookups(`{}`)
	t.Cleanup(func() { b.lookups(`null`) })
	names, _ := b.pods("glibc")
	for _, n := range b.Nodes() {
		b.until(n+" is told of no prefix", func() error {
			out, err := b.hexapod(n, "nat64", "show")
			if strings.Contains(out, "no NAT64 of the network outside was found") {
				return nil
			}
			return fmt.Errorf("it shows %s: %w", out, err)
		})
	}

	t.Cleanup(func() {
		if err := b.TellPref64(); err != nil {
			t.Error(err)
		}
	})
	if err := b.TellPref64(by); err != nil {
		t.Fatal(err)
	}
	for _, n := range b.Nodes() {
		b.until("a process of "+n+" reaches a server by name", func() error { return provides(b.try(n, "curl", "-sf", "-m", "5", "http://"+internet.Web+"/")) })
		b.until("a pod on "+n+" reaches a server by name", func() error {
			return provides(b.in(names[n], "curl", "-sf", "-m", "5", "http://"+internet.Web+"/"))
		})
		b.resolves(names[n], n, []string{"getent", "ahostsv6"}, internet.Web, prefix.Embed(cluster.InternetAddr).String())
		b.resolves(names[n], n, []string{"getent", "ahostsv6"}, internet.Both, b.Site().String())
		b.says(n, "nat64", "provider", "done")
		if out, err := b.both(n, "ip", "link", "show", "pref64"); err == nil {
			t.Errorf("%s has %s", n, out)
		}
	}

	if err := b.TellPref64(); err != nil {
		t.Fatal(err)
	}
	for _, n := range b.Nodes() {
		b.until("the name leads nowhere for a pod on "+n, func() error {
			if out, err := b.in(names[n], "getent", "ahostsv6", internet.Web); err == nil && strings.Contains(out, "2001:db8:64:") {
				return fmt.Errorf("it leads to %s", out)
			}
			return nil
		})
	}
}

// provides looks whether a page came from the web server of the IPv4 Internet, and whether that saw the provider.
func provides(page string, err error) error {
	var a probe.Answer
	if err == nil {
		err = json.Unmarshal([]byte(page), &a)
	}
	if err == nil && (a.Name != internet.PartFour || !cluster.ProviderPool.Contains(a.Client)) {
		err = fmt.Errorf("%s answers, and saw %s", a.Name, a.Client)
	}
	return err
}
