package objects_test

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"hexapod.dev/edge/objects"
	"hexapod.dev/model/announce"
)

func bgpPeer(name, spec string) string {
	return "---\napiVersion: hexapod.dev/v1alpha1\nkind: BGPPeer\nmetadata: {name: " + name + "}\nspec: " + spec + "\n"
}

func TestSpeaker(t *testing.T) {
	s := read(t, fabric+bgpPeer("tor", `{interface: eth0, racks: [r3], passwordFile: key, gtsm: true, communities: ["65001:100", "4200000001:1:2"], bfd: {}}`)+
		bgpPeer("out", `{address: "3fff:f::1", asn: 65538, localASN: 64512, hosts: [h18, cloud], allowDefault: true, accept: [203.0.113.0/24], holdTime: 30s, gracefulRestart: {off: true}}`))
	m := modelOf(t, s)
	sp, ok, err := objects.Speaker(s, m, "h18", map[string]string{"key": "secret"})
	if err != nil || !ok {
		t.Fatal(ok, err)
	}
	want := announce.Speaker{ASN: 4200000101, RouterID: netip.MustParseAddr("0.0.12.18"), Peers: []announce.Peer{
		{Name: "out", Addr: netip.MustParseAddr("3fff:f::1"), ASN: 65538, LocalASN: 64512, MaxPrefixes: 20000, HoldSeconds: 30, KeepaliveSeconds: 10,
			Restart: announce.RestartTimes{Off: true}, Terms: announce.Terms{AllowDefault: true, Accept: announce.Within(netip.MustParsePrefix("203.0.113.0/24"))}},
		{Name: "tor", Interface: "eth0", ASN: 4200000100, Password: "secret", GTSM: true, MaxPrefixes: 20000, HoldSeconds: 9, KeepaliveSeconds: 3,
			Communities: []uint32{65001<<16 | 100}, Large: [][3]uint32{{4200000001, 1, 2}},
			Restart: announce.RestartTimes{Seconds: 120}, BFD: &announce.BFD{IntervalMillis: 300, Multiplier: 3},
			Terms: announce.Terms{Accept: announce.Within(netip.MustParsePrefix("2001:db8:a000::/37"), netip.MustParsePrefix("2001:db8:a000:3::/64"),
				netip.MustParsePrefix("3fff:d::/48"), netip.MustParsePrefix("3fff:e::/48"))}},
	}}
	if d := cmp.Diff(want, sp, opaque); d != "" {
		t.Errorf("-want +got\n%s", d)
	}
	if !sp.Peers[1].Unnumbered() || sp.Peers[0].Unnumbered() {
		t.Error("tor is found on its link, out has an address")
	}
}

// Sessions of a host that announces a translation end with its routes when it is silent; those of others, and without announcement, keep them.
func TestSpeakerOfAGateway(t *testing.T) {
	for _, c := range []struct {
		spec string
		want announce.RestartTimes
	}{
		{`{hosts: [h18], pool: [192.0.2.0/28], announce: true}`, announce.RestartTimes{Seconds: 120, Silence: true}},
		{`{hosts: [h18], pool: [192.0.2.0/28]}`, announce.RestartTimes{Seconds: 120}},
		{`{hosts: [cloud], pool: [192.0.2.0/28], announce: true}`, announce.RestartTimes{Seconds: 120}},
	} {
		s := read(t, fabric+bgpPeer("tor", `{interface: eth0, racks: [r3]}`)+
			"---\napiVersion: hexapod.dev/v1alpha1\nkind: Translation\nmetadata: {name: t}\nspec: "+c.spec+"\n")
		sp, _, err := objects.Speaker(s, modelOf(t, s), "h18", nil)
		if err != nil {
			t.Fatal(err)
		}
		if got := sp.Peers[0].Restart; got != c.want {
			t.Errorf("%s: %+v, want %+v", c.spec, got, c.want)
		}
	}
}

// TestSpeakerSelectors: who has which peer.
func TestSpeakerSelectors(t *testing.T) {
	for _, c := range []struct{ name, spec, host, want string }{
		{"all hosts", `{interface: eth0}`, "h18", "p"},
		{"by name", `{interface: eth0, hosts: [h18]}`, "h18", "p"},
		{"by rack number", `{interface: eth0, racks: [3]}`, "h18", "p"},
		{"by cluster", `{interface: eth0, cluster: main}`, "h18", "p"},
		{"another host's", `{interface: eth0, asn: 1, hosts: [cloud]}`, "h18", ""},
		{"rack or name", `{interface: eth0, racks: [r3], hosts: [cloud]}`, "h18", "p"},
		{"retired", `{interface: eth0}`, "old", ""},
		{"not a host", `{interface: eth0}`, "h19", ""},
		{"no rack, no numbers", `{interface: eth0}`, "cloud",
			"BGPPeer p: host cloud is in no rack of the plan, which would give the AS numbers; write spec.asn and spec.localASN"},
		{"no rack, no router id", `{interface: eth0, asn: 65538, localASN: 64512}`, "cloud", "router id of cloud"},
	} {
		s := read(t, fabric+bgpPeer("p", c.spec))
		sp, ok, err := objects.Speaker(s, modelOf(t, s), c.host, nil)
		switch {
		case err != nil:
			if c.want == "" || !strings.HasPrefix(err.Error(), c.want) {
				t.Errorf("%s: %v, want %q", c.name, err, c.want)
			}
		case ok != (c.want != "") || ok && sp.Peers[0].Name != c.want:
			t.Errorf("%s: %t %v, want %q", c.name, ok, sp.Peers, c.want)
		}
	}
}
