package cni

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"hexapod.dev/edge/cni/wire"
	"hexapod.dev/model/desired"
)

// read parses configuration and arguments as one ADD would and tells the outcome in one line.
func read(config, args string) string {
	c, err := parseConfig([]byte(config), wire.Add)
	if err == nil {
		var q Request
		q, err = requestOf(wireRequest{Command: "ADD", ContainerID: "c", IfName: "eth0", NetNS: "/n", Args: args}, c, true)
		if err == nil {
			return fmt.Sprintf("%s %v %v %s/%s/%s", q.Network, q.Labels, q.Fixed, q.Namespace, q.Name, q.UID)
		}
	}
	return fmt.Sprintf("code %d: %v", codeOf(err, CodeFailed), err)
}

func TestConfig(t *testing.T) {
	with := func(more string) string { return `{"cniVersion":"1.1.0","name":"n",` + more + `}` }
	seventeen := strings.TrimSuffix(strings.Repeat(`"2001:db8::1",`, maxFixed+1), ",")
	for _, c := range []struct{ name, config, args, want string }{
		{"least", `{"cniVersion":"0.4.0","name":"n"}`, "", "n map[] [] //"},
		{"keys of others", with(`"type":"x","mtu":"y","isGateway":1,"cni.dev/z":[],"disableCheck":true`), "", "n map[] [] //"},
		{"labels as an object", with(`"args":{"cni":{"labels":{"a":"b"}},"other":{"labels":3}}`), "", "n map[a:b] [] //"},
		{"labels as CONVENTIONS has them", with(`"args":{"cni":{"labels":[{"key":"a","value":"b"},{"key":"c","value":""}]}}`), "", "n map[a:b c:] [] //"},
		{"one label twice", with(`"args":{"cni":{"labels":[{"key":"a","value":"b"},{"key":"a","value":"c"}]}}`), "",
			`code 7: network configuration: args: labels: "a" is both "b" and "c"`},
		{"args.cni.ips before the rest", with(`"args":{"cni":{"ips":["2001:db8::1"]}},"runtimeConfig":{"ips":["2001:db8::2"]}`), "IP=2001:db8::3",
			"n map[] [2001:db8::1] //"},
		{"runtimeConfig.ips before CNI_ARGS", with(`"runtimeConfig":{"ips":["2001:db8::2/64"],"mac":"x"}`), "IP=2001:db8::3", "n map[] [2001:db8::2] //"},
		{"CNI_ARGS IP", with(`"capabilities":{"ips":true}`), "IP=2001:db8::3/64,2001:db8::4", "n map[] [2001:db8::3 2001:db8::4] //"},
		{"pod", with(`"args":null`), "IgnoreUnknown=true;K8S_POD_NAMESPACE=a;K8S_POD_NAME=b;K8S_POD_UID=c;K8S_POD_INFRA_CONTAINER_ID=d;X=;",
			"n map[] [] a/b/c"},
		{"unknown argument", with(`"a":1`), "X=1;IgnoreUnknown=0", `code 4: CNI_ARGS: "X" is not known; add IgnoreUnknown=1 to pass over it`},
		{"IgnoreUnknown", with(`"a":1`), "IgnoreUnknown=yes", `code 4: CNI_ARGS: IgnoreUnknown: "yes" is not 1, true, 0 or false`},
		{"name with a line feed", with(`"a":1`), "K8S_POD_NAME=a\nb", `code 4: CNI_ARGS: K8S_POD_NAME: "a\nb" has characters that cannot be printed`},
		{"name at the limit", with(`"a":1`), "K8S_POD_NAME=" + strings.Repeat("a", maxArg), "n map[] [] /" + strings.Repeat("a", maxArg) + "/"},
		{"name past the limit", with(`"a":1`), "K8S_POD_NAME=" + strings.Repeat("a", maxArg+1), "code 4: CNI_ARGS: K8S_POD_NAME: longer than 253 bytes"},
		{"too many addresses", with(`"args":{"cni":{"ips":[` + seventeen + `]}}`), "", "code 7: network configuration: args.cni.ips: 17 addresses, at most 16"},
		{"one address twice", with(`"args":{"cni":{"ips":["2001:db8::1","2001:db8::1/64"]}}`), "",
			"code 7: network configuration: args.cni.ips: 2001:db8::1/64 is there twice"},
		{"link-local address", with(`"runtimeConfig":{"ips":["fe80::1"]}`), "",
			"code 7: network configuration: runtimeConfig.ips: fe80::1 is not a unicast address of global scope"},
		{"mapped address", with(`"runtimeConfig":{"ips":["::ffff:192.0.2.1"]}`), "",
			"code 7: network configuration: runtimeConfig.ips: ::ffff:192.0.2.1 is IPv4; endpoints have IPv6 addresses"},
		{"dns is a list", with(`"dns":[]`), "", "code 7: network configuration: dns: json: cannot unmarshal array into Go value of type map[string]json.RawMessage"},
		{"name", `{"cniVersion":"1.1.0","name":"a/b"}`, "", "code 7: network configuration: name has a character other than letters, digits, '_', '.', '-', or does not start with a letter or digit"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := read(c.config, c.args); got != c.want {
				t.Errorf("\n got %s\nwant %s", got, c.want)
			}
		})
	}
}

// GC: the list counts as given also when it is empty, and the specification's first name for it is understood.
func TestCNI1_1_ValidAttachments(t *testing.T) {
	for text, want := range map[string]string{
		`{}`:                                 "[] false",
		`{"cni.dev/valid-attachments":[]}`:   "[] true",
		`{"cni.dev/valid-attachments":null}`: "[] true", // an empty list of Go
		`{"cni.dev/attachments":[{"containerID":"c","ifname":"eth0"}]}`:                                              "[c/eth0] true",
		`{"cni.dev/attachments":[],"cni.dev/valid-attachments":[{"containerID":"c","ifname":"eth0"}]}`:               "[c/eth0] true",
		`{"cni.dev/valid-attachments":[{"containerID":"c","ifname":"eth0"},{"containerID":"d","ifname":"e","x":1}]}`: "[c/eth0 d/e] true",
	} {
		var members map[string]json.RawMessage
		if err := json.Unmarshal([]byte(text), &members); err != nil {
			t.Fatal(err)
		}
		var c config
		if err := c.readValid(members); err != nil {
			t.Errorf("%s: %v", text, err)
		} else if got := fmt.Sprint(c.valid, c.isValid); got != want {
			t.Errorf("%s: %s, want %s", text, got, want)
		}
	}
}

// FuzzConfig: any configuration and any CNI_ARGS give a request that keeps the rules, or an error with a code; and an ADD with its
// prevResult gives a result that is JSON.
func FuzzConfig(f *testing.F) {
	for _, seed := range []struct{ config, args string }{
		{`{"cniVersion":"1.1.0","name":"n","args":{"cni":{"labels":[{"key":"a","value":"b"}],"ips":["2001:db8::1/64"]}}}`, "IgnoreUnknown=1;K8S_POD_NAME=a"},
		{`{"cniVersion":"0.4.0","name":"n","prevResult":{"interfaces":[{"name":"a","sandbox":"/n"}],"ips":[{"interface":0,"address":"2001:db8::1/64"}]}}`, ""},
		{`{"cniVersion":"1.0.0","name":"n","cni.dev/valid-attachments":[{"containerID":"c","ifname":"e"}],"dns":{}}`, "IP=2001:db8::1,::"},
		{`{"cniVersion":"1.0.0","name":"n","runDir":7,"ipam":{"type":"x"}}`, "a=b;;=;c"},
	} {
		f.Add([]byte(seed.config), seed.args)
	}
	f.Fuzz(func(t *testing.T, text []byte, args string) {
		c, err := parseConfig(text, wire.Add)
		if err != nil {
			if code := codeOf(err, CodeFailed); code == CodeFailed {
				t.Fatalf("%q: an error without a code: %v", text, err)
			}
			return
		}
		if !wire.Supported(c.version) || wire.CheckNetwork(c.name) != nil {
			t.Fatalf("%q was accepted", text)
		}
		// The plugin reads the same text with a scanner of its own.
		if err := wire.Members(text, func(_, _ []byte) {}); err != nil && !strings.Contains(err.Error(), "deep") {
			t.Fatalf("%q: the plugin refuses it: %v", text, err)
		}
		q, err := requestOf(wireRequest{ContainerID: "c", IfName: "eth0", NetNS: "/n", Args: args}, c, true)
		if err != nil {
			return
		}
		for _, a := range q.Fixed {
			if !a.Is6() || a.Is4In6() || a.Zone() != "" || !a.IsGlobalUnicast() {
				t.Fatalf("%q %q: fixed address %s was accepted", text, args, a)
			}
		}
		attachment := Attachment{HostName: "hx", Name: "eth0", NetNS: "/n", Addrs: q.Fixed}
		if c.prev != nil {
			checkResult(c.prev, attachment)
		}
		result, err := addResult(c, attachment)
		if err != nil || !json.Valid(result) {
			t.Fatalf("%q: result %s, %v", text, result, err)
		}
	})
}

// FuzzRequest: no request line stops the server.
func FuzzRequest(f *testing.F) {
	f.Add([]byte(`{"command":"STATUS","config":{"cniVersion":"1.1.0","name":"n"}}` + "\n"))
	f.Add([]byte(`{"command":"ADD","config":null}` + "\n"))
	f.Fuzz(func(t *testing.T, line []byte) {
		s := Server{Backend: idle{}, StateDir: "/nowhere", Log: slog.New(slog.DiscardHandler)}
		answer := s.answer(t.Context(), line, func() {})
		if strings.Contains(string(answer.Stdout), "internal error") {
			t.Fatalf("%q: %s", line, answer.Stdout)
		}
		if answer.Exit == 1 && !json.Valid(answer.Stdout) {
			t.Fatalf("%q: %d %s", line, answer.Exit, answer.Stdout)
		}
	})
}

// idle is a backend that has nothing to do.
type idle struct{}

func (idle) Add(_ context.Context, r Request) (Attachment, error) {
	return Attachment{Name: r.Key.Interface, NetNS: r.NetNS}, nil
}
func (idle) Del(context.Context, Request) error { return nil }
func (idle) Check(_ context.Context, r Request) (Attachment, error) {
	return Attachment{Name: r.Key.Interface, NetNS: r.NetNS}, nil
}
func (idle) GC(context.Context, string, []desired.EndpointKey) error { return nil }
func (idle) Status(context.Context) error                            { return nil }
