package render

import (
	"fmt"
	"strings"

	"hexapod.dev/model/prefix"
)

// bird writes bird.conf of BIRD 2. The upper side waits for whoever is on the port, the lower connects to fe80::1.
func bird(v view, s Scope) ([]File, error) {
	r, err := v.router(s)
	if err != nil {
		return nil, err
	}
	return []File{birdFile(r)}, nil
}

func birdFile(r Router) File {
	t := &text{}
	t.line("# %s", r.About)
	t.line("# Ports carry no addresses but link-local ones; the upper side of each has fe80::1.")
	t.line("log syslog all;\nrouter id %s;\ngraceful restart wait 60;\n", r.RouterID)
	t.line("protocol device {\n}\n")
	t.line("protocol kernel {\n\tmerge paths on;\n\tipv6 {\n\t\timport none;\n\t\texport where source != RTS_DEVICE; # what is on lo is there already\n\t};\n}\n")
	t.line("# Unused addresses of what is announced end here instead of going round.")
	t.line("protocol static owned {\n\tipv6 {\n\t\tpreference 5;\n\t};")
	for _, q := range r.Discard {
		t.line("\troute %s blackhole;", q)
	}
	t.line("}\n")
	if r.Loopback.IsValid() {
		t.line("# The loopback address itself; put it on lo.")
		t.line("protocol direct loopback {\n\tipv6;\n\tinterface \"lo\";\n}\n")
	}
	t.line("# Some neighbours find this router by its advertisements. Lifetime 0: it is nobody's default router by them.\nprotocol radv {")
	for _, p := range r.Peers {
		t.line("\tinterface \"%s\" {\n\t\tmax ra interval 10;\n\t\tmin delay 1;\n\t\tdefault lifetime 0;\n\t};", p.Port)
	}
	t.line("}\n")
	for _, p := range r.Peers {
		birdFilter(t, p.Name+"-in", p.In)
		birdFilter(t, p.Name+"-out", p.Out)
		birdPeer(t, r, p)
	}
	return File{"bird.conf", strings.TrimSuffix(t.String(), "\n")}
}

func birdFilter(t *text, name string, ms []prefix.Match) {
	var set []string
	for _, m := range ms {
		lengths := ""
		if m.Min != 0 {
			lengths = fmt.Sprintf("{%d,%d}", m.Min, m.Max)
		}
		set = append(set, m.Prefix.String()+lengths)
	}
	t.line("filter '%s' {\n\tif net ~ [ %s ] then accept;\n\treject;\n}\n", name, strings.Join(set, ", "))
}

func birdPeer(t *text, r Router, p RouterPeer) {
	as := "external"
	if p.ASN != 0 {
		as = fmt.Sprintf("as %d", p.ASN)
	}
	t.line("protocol bgp '%s' {\n\tdescription \"%s\";\n\tlocal as %d;\n\tinterface \"%s\";", p.Name, p.About, r.ASN, p.Port)
	if p.Upper {
		t.line("\tneighbor fe80::1 %s;\n\tdirect;", as)
	} else {
		t.line("\tneighbor range fe80::/64 %s;\n\tdynamic name \"%s_\";\n\tdirect;", as, birdWord(p.Name))
	}
	t.line("\tconnect delay time 1;\n\tgraceful restart on;\n\tipv6 {\n\t\timport filter '%s-in';\n\t\texport filter '%s-out';\n\t\timport limit %d action restart;\n\t\tnext hop self;\n\t};\n}\n",
		p.Name, p.Name, p.Limit)
}

// birdWord writes a name in the letters of a plain BIRD symbol, which names of dynamic protocols must be.
func birdWord(s string) string {
	return strings.Map(func(c rune) rune {
		if c == '.' || c == '-' {
			return '_'
		}
		return c
	}, s)
}
