package lab_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"hexapod.dev/agent/local"
	"hexapod.dev/lab"
)

// defaultRouter lets a ToR call itself a default router in its advertisements, as FRR does where nobody says otherwise, and plugs the cable
// anew: neither end knows the other. The host finds out that it speaks BGP before it advertises itself, and the session comes.
func (f fabric) defaultRouter(kind lab.RouterKind) {
	const tor, port, host, link = "tor1", "to-r1h1", "r1h1", "up0"
	f.lifetime(kind, tor, port, 30*time.Second)
	plug := func(up bool) {
		f.Helper()
		if err := f.SetLink(tor, port, up); err != nil {
			f.Fatal(err)
		}
	}
	plug(false)
	f.eventually("the session over the cable is gone", func() bool { return !established(f.peers(host)) })
	plug(true)
	plugged := time.Now()
	f.eventually("the session over the cable is back", func() bool { return established(f.peers(host)) })
	var last time.Time
	for _, p := range f.peers(host) {
		if p.Since.After(last) {
			last = p.Since
		}
	}
	f.Logf("the session with a default router: %v after the cable was plugged", last.Sub(plugged).Round(10*time.Millisecond))
	advertises := func(toDefault bool) bool {
		s, err := local.NewClient(f.folder(host, "run/hexapod")).Status(f.Context())
		if err != nil {
			f.Fatal(err)
		}
		for _, o := range s.Objects {
			if o.Kind == "advertises" && o.Name == link {
				return o.State == local.Done && strings.Contains(o.Detail, "default router") == toDefault
			}
		}
		return false
	}
	f.eventually("the host advertises itself to a default router", func() bool { return advertises(true) })
	f.lifetime(kind, tor, port, 0)
	f.eventually("it is no default router any more", func() bool { return advertises(false) })
}

// lifetime sets how long a router calls itself a default router for.
func (f fabric) lifetime(kind lab.RouterKind, router, port string, d time.Duration) {
	f.Helper()
	seconds := int(d.Seconds())
	if kind == lab.FRRRouter {
		f.exec(router, "vtysh", "--vty_socket", "/run/frr", "-c", "configure terminal", "-c", "interface "+port, "-c", fmt.Sprintf("ipv6 nd ra-lifetime %d", seconds))
		return
	}
	files, err := filepath.Glob(filepath.Join(f.folder(router, "etc"), "bird*.conf"))
	if err != nil || len(files) != 1 {
		f.Fatalf("configuration of BIRD on %s: %v, %v", router, files, err)
	}
	text, err := os.ReadFile(files[0])
	if err != nil {
		f.Fatal(err)
	}
	before, after, found := strings.Cut(string(text), fmt.Sprintf("interface \"%s\" {\n\t\tmax ra interval", port))
	head, tail, foundToo := strings.Cut(after, "default lifetime ")
	_, tail, ends := strings.Cut(tail, ";")
	if !found || !foundToo || !ends {
		f.Fatalf("no lifetime of %s in the configuration of BIRD on %s:\n%s", port, router, text)
	}
	changed := fmt.Sprintf("%sinterface \"%s\" {\n\t\tmax ra interval%sdefault lifetime %d;%s", before, port, head, seconds, tail)
	if err := os.WriteFile(files[0], []byte(changed), 0o644); err != nil {
		f.Fatal(err)
	}
	f.exec(router, "/usr/sbin/birdc", "-s", "/run/bird/bird.ctl", "configure")
}
