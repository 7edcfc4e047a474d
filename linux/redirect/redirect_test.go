package redirect

import (
	"strings"
	"testing"
	"time"

	"hexapod.dev/linux/netns/netnstest"
)

// Every way to send one's own traffic elsewhere is seen, and told of by nftables; nothing else is.
func TestLook(t *testing.T) {
	for _, test := range []struct {
		name  string
		rules []string
		want  bool
	}{
		{"nothing", nil, false},
		{"filter", []string{"nft add table inet f", "nft add chain inet f o { type filter hook output priority 0 ; }", "nft add rule inet f o tcp dport 1 drop"}, false},
		{"source", []string{"nft add table ip6 n", "nft add chain ip6 n p { type nat hook postrouting priority 100 ; }", "nft add rule ip6 n p masquerade"}, false},
		{"redirect", []string{"nft add table ip6 n", "nft add chain ip6 n o { type nat hook output priority -100 ; }", "nft add rule ip6 n o tcp dport 80 redirect to :15001"}, true},
		{"destination", []string{"nft add table ip6 n", "nft add chain ip6 n o { type nat hook output priority -100 ; }", "nft add rule ip6 n o tcp dport 80 dnat to [2001:db8::1]:15001"}, true},
		{"iptables over nftables", []string{"ip6tables-nft -t nat -A OUTPUT -p tcp --dport 80 -j REDIRECT --to-ports 15001"}, true},
		{"older iptables", []string{"ip6tables-legacy -t nat -A OUTPUT -p tcp --dport 80 -j REDIRECT --to-ports 15001"}, true},
		{"older iptables, IPv4", []string{"iptables-legacy -t nat -A OUTPUT -p tcp --dport 80 -j DNAT --to 192.0.2.1"}, true},
		{"older iptables, a chain of that name", []string{"ip6tables-legacy -t nat -N XREDIRECT", "ip6tables-legacy -t nat -A OUTPUT -j XREDIRECT"}, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			ns := netnstest.New(t)
			w, err := Open(ns.Path())
			if err != nil {
				t.Fatal(err)
			}
			told := make(chan struct{}, 100)
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				w.Run(t.Context(), func() { told <- struct{}{} })
			}()
			if found, err := w.Look(); found || err != nil {
				t.Errorf("before: %v, %v", found, err)
			}
			for _, line := range test.rules {
				netnstest.Run(t, ns, line)
			}
			if len(test.rules) > 0 && strings.Contains(test.rules[0], "nft ") { // by iptables' words, too
				<-told // or the test ends by its time limit
			}
			w.looked = time.Time{} // as if the pause were over
			if found, err := w.Look(); found != test.want || err != nil {
				t.Errorf("after: %v, %v, want %v", found, err, test.want)
			}
			if err := w.Close(); err != nil {
				t.Error(err)
			}
			<-ended
		})
	}
}

// Bytes that are cut off anywhere are no rule.
func FuzzLeads(f *testing.F) {
	f.Add([]byte{12, 0, 4, 0, 8, 0, 1, 0, 'r', 'e', 'd', 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		leads(b)
		for _, x := range families {
			x.leads(b)
		}
	})
}
