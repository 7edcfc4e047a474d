package v1alpha1

import (
	"fmt"
	"testing"
)

func TestDNSServer(t *testing.T) {
	for text, want := range map[DNSServer]string{
		"2001:db8::53":                       "udp [2001:db8::53]:53 ",
		"[2001:db8::53]":                     "udp [2001:db8::53]:53 ",
		"[2001:db8::53]:5353":                "udp [2001:db8::53]:5353 ",
		"192.0.2.53":                         "udp 192.0.2.53:53 ",
		"udp://[2001:db8::53]:53":            "udp [2001:db8::53]:53 ",
		"tcp://[2001:db8::53]":               "tcp [2001:db8::53]:53 ",
		"tls://2001:db8::53#dns.example.org": "tls [2001:db8::53]:853 dns.example.org",
		"tls://[2001:db8::53]:8853":          "tls [2001:db8::53]:8853 ",
		"udp://2001:db8::53#name":            `"udp://2001:db8::53#name": only a server asked by tls has a name`,
		"https://2001:db8::53":               `"https://2001:db8::53": cannot ask by https`,
		"dns.example.org":                    `"dns.example.org" is no address, or no address and port`,
		"[2001:db8::53]:0":                   `"[2001:db8::53]:0" is no address, or no address and port`,
		"":                                   `"" is no address, or no address and port`,
	} {
		via, at, name, err := text.Parts()
		got := fmt.Sprintf("%s %s %s", via, at, name)
		if err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%q: %s, want %s", text, got, want)
		}
	}
}
