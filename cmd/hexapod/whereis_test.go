package main

import (
	"context"
	"encoding/json"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"hexapod.dev/agent/allocation"
	"hexapod.dev/agent/journal"
	"hexapod.dev/edge/file"
	"hexapod.dev/model/desired"
	"hexapod.dev/model/ipam"
)

const elmPlan = `apiVersion: hexapod.dev/v1alpha1
kind: AddressPlan
metadata: {name: lab}
spec: {prefix: "2001:db8:a000::/37", lab: true, clusters: [{name: main, number: 0, racks: [{name: left, number: 3}]}]}
---
apiVersion: hexapod.dev/v1alpha1
kind: Host
metadata: {name: elm}
spec: {cluster: main, rack: left, number: 18}
---
apiVersion: hexapod.dev/v1alpha1
kind: Identity
metadata: {name: id-423}
spec: {number: 423, namespace: shop, labels: {app: cart}, keyVersion: 1}
`

var elmPrefix = netip.MustParsePrefix("2001:db8:a000:c12::/64")

// handClock is moved by the test.
type handClock struct{ now ipam.Seconds }

func (c *handClock) Now() ipam.Seconds { return c.now }

func (c *handClock) WaitUntil(ctx context.Context, s ipam.Seconds) error {
	c.now = max(c.now, s)
	return ctx.Err()
}

// lifeOf writes a journal in which one endpoint lived for an hour, and another lives; it returns their addresses.
func lifeOf(t *testing.T, dir string, seal *ipam.Seal) (dead, living netip.Addr, clock *handClock) {
	t.Helper()
	layout, err := ipam.NewLayout(elmPrefix, seal)
	if err != nil {
		t.Fatal(err)
	}
	clock = &handClock{59_000_000}
	book, err := allocation.Open(allocation.Options{Host: "elm", Layout: layout, FS: journal.Dir(dir), Clock: clock})
	if err != nil {
		t.Fatal(err)
	}
	ask := func(name string) netip.Addr {
		a, err := book.Allocate(t.Context(), allocation.Request{Identity: 423, Owner: allocation.Owner{
			Key: desired.EndpointKey{Container: "c-" + name, Interface: "eth0"}, Namespace: "shop", Name: name,
		}})
		if err != nil {
			t.Fatal(err)
		}
		return a.Addr
	}
	dead, living = ask("cart-1"), ask("cart-2")
	clock.now += ipam.Hour
	if err := errors.Join(book.Retire(t.Context(), desired.EndpointKey{Container: "c-cart-1", Interface: "eth0"}), book.Close()); err != nil {
		t.Fatal(err)
	}
	return dead, living, clock
}

func TestWhereisNeedsOnlyThePlan(t *testing.T) {
	conf, run := folderWith(t, elmPlan), t.TempDir()
	got, _ := call(t, exitOK, "whereis", "2001:db8:a000:c12:1a7:38b:8d98:3", "--config", conf, "--run", run)
	want := `ADDRESS   2001:db8:a000:c12:1a7:38b:8d98:3
fabric    lab                               2001:db8:a000::/37
cluster   main (0)                          2001:db8:a000::/44
rack      left (3)                          2001:db8:a000:c00::/54
host      elm (18)                          2001:db8:a000:c12::/64
role      endpoint
identity  423 (0x01a7)                      namespace shop app=cart
born      2026-11-20T09:30:00Z              number 3 of that second
endpoint  -                                 no journal: no agent answers in RUN
`
	if d := cmp.Diff(want, strings.ReplaceAll(got, run, "RUN")); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
}

func TestWhereisReadsAJournal(t *testing.T) {
	conf, dir := folderWith(t, elmPlan), t.TempDir()
	dead, living, clock := lifeOf(t, dir, nil)
	for _, test := range []struct {
		name      string
		addr      netip.Addr
		at        ipam.Seconds
		then, now string
	}{
		{"in its life", dead, clock.now - ipam.Minute, "shop/cart-1 c-cart-1/eth0", "nobody"},
		{"after its life", dead, clock.now + ipam.Minute, "nobody", "nobody"},
		{"living", living, clock.now, "shop/cart-2 c-cart-2/eth0", "shop/cart-2 c-cart-2/eth0"},
		{"before it was born", living, clock.now - ipam.Day, "nobody", "shop/cart-2 c-cart-2/eth0"},
	} {
		t.Run(test.name, func(t *testing.T) {
			out, _ := call(t, exitOK, "whereis", "--config", conf, "--journal", dir, "--at", test.at.String(), test.addr.String())
			for what, want := range map[string]string{"then": test.then, "now": test.now} {
				if line := lineOf(out, what); !strings.HasPrefix(line, want) {
					t.Errorf("%s: got %q, want %q\n%s", what, line, want, out)
				}
			}
		})
	}
	var answer whereisAnswer
	out, _ := call(t, exitOK, "whereis", "--config", conf, "--journal", dir, "-o", "json", living.String())
	if err := json.Unmarshal([]byte(out), &answer); err != nil || answer.Now == nil || answer.Now.Name != "cart-2" || answer.Now.Host != "elm" || *answer.Identity != 423 {
		t.Errorf("json: %v\n%s", err, out)
	}
}

// lineOf returns what stands behind the first word of a line.
func lineOf(table, word string) string {
	for line := range strings.Lines(table) {
		if rest, ok := strings.CutPrefix(line, word+" "); ok {
			return strings.TrimSpace(rest)
		}
	}
	return ""
}

func TestWhereisOpensASealedAddressWithTheKeyAlone(t *testing.T) {
	sealed := strings.Replace(elmPlan, "lab: true", "lab: true, hostPart: sealed, sealKeyFile: seal.key", 1)
	conf := folderWith(t, sealed)
	if err := os.WriteFile(filepath.Join(conf, "seal.key"), []byte("00112233445566778899aabbccddeeff\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	set, err := file.Load(conf)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	_, living, _ := lifeOf(t, dir, set.Seal)
	out, _ := call(t, exitOK, "whereis", "--config", conf, "--journal", dir, living.String())
	if got := lineOf(out, "identity"); !strings.HasPrefix(got, "423 (0x01a7)") || strings.Contains(living.String(), "1a7:") {
		t.Errorf("%s: identity %q", living, got)
	}
	if got := lineOf(out, "born"); !strings.HasPrefix(got, "2026-11-14T20:53:2") {
		t.Errorf("%s: born %q", living, got)
	}
	if got := lineOf(out, "now"); !strings.HasPrefix(got, "shop/cart-2") {
		t.Errorf("%s: now %q", living, got)
	}
}

func TestWhereisOfASealedAddressWithoutTheKey(t *testing.T) {
	conf := folderWith(t, strings.Replace(elmPlan, "lab: true", "lab: true, hostPart: sealed, sealKeyFile: seal.key", 1))
	out, _ := call(t, exitOK, "whereis", "--config", conf, "--run", t.TempDir(), "2001:db8:a000:c12:1a7:38b:8d98:3")
	if got := lineOf(out, "host"); !strings.HasPrefix(got, "elm (18)") {
		t.Errorf("where it lies is known without the key: %q", got)
	}
	if got := lineOf(out, "host part"); !strings.Contains(got, "sealed, and the key is not here: "+filepath.Join(conf, "seal.key")) {
		t.Errorf("host part: %q", got)
	}
	if strings.Contains(out, "\nborn") || strings.Contains(out, "\nidentity") {
		t.Errorf("a sealed host part was read without its key:\n%s", out)
	}
	call(t, exitOK, "plan", "show", "--config", conf)
	if _, errs := call(t, exitFailed, "check", conf); !strings.Contains(errs, "is refused: 1 error,") {
		t.Errorf("check of a folder without its key: %s", errs)
	}
}

func TestWhereisSaysWhatNobodyHas(t *testing.T) {
	conf := folderWith(t, elmPlan)
	for addr, want := range map[string][2]string{
		"2001:db8:a000:c12:1::":         {"role", "reserved"},
		"2001:db8:a000:c12:ff:38b::3":   {"role", "reserved"},
		"2001:db8:a000:c12:1::1":        {"role", "router"},
		"2001:db8:a000:c12:100:38b:0:3": {"role", "endpoint"},
		"2001:db8:a000:3::7":            {"rack", "0, kept for roles"},
		"2001:db8:a000:c13:100:38b::3":  {"host", "19, not in the plan"},
	} {
		out, _ := call(t, exitOK, "whereis", "--config", conf, "--run", conf, addr)
		if got := lineOf(out, want[0]); !strings.HasPrefix(got, want[1]) {
			t.Errorf("%s: %s %q, want %q", addr, want[0], got, want[1])
		}
	}
}

func TestWhereisRefuses(t *testing.T) {
	conf := folderWith(t, elmPlan)
	for _, test := range []struct {
		exit  int
		say   string
		words []string
	}{
		{exitUsage, "want ADDRESS", nil},
		{exitUsage, "not an IPv6 address", []string{"192.0.2.1"}},
		{exitUsage, "not an IPv6 address", []string{"fe80::1%eth0"}},
		{exitUsage, "want it like", []string{"--at", "yesterday", "2001:db8::1"}},
		{exitFailed, "not of fabric lab", []string{"2001:db8:ffff::1"}},
		{exitFailed, "no-such", []string{"--journal", "/no-such", "2001:db8:a000:c12::5"}},
	} {
		_, errs := call(t, test.exit, append([]string{"whereis", "--config", conf, "--run", conf}, test.words...)...)
		if !strings.Contains(errs, test.say) {
			t.Errorf("whereis %v: got %q, want %q in it", test.words, errs, test.say)
		}
	}
}

func TestIPAMVerify(t *testing.T) {
	dir := t.TempDir()
	lifeOf(t, dir, nil)
	out, _ := call(t, exitOK, "ipam", "verify", "--journal", dir)
	if !strings.Contains(out, "2026-11-14") || !strings.Contains(out, "whole") {
		t.Errorf("got\n%s", out)
	}
	all, err := journal.Segments(journal.Dir(dir))
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, all[0].Name())
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	b[100] ^= 1
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	out, errs := call(t, exitFailed, "ipam", "verify", "--journal", dir)
	if !strings.Contains(out, all[0].Name()+" is damaged at byte") || !strings.Contains(errs, "1 of 1 segments") {
		t.Errorf("a damaged journal: got\n%s%s", out, errs)
	}
}

func TestIPAMWithoutAnAgent(t *testing.T) {
	for _, verb := range []string{"status", "accept-clock"} {
		if _, errs := call(t, exitFailed, "ipam", verb, "--run", t.TempDir()); !strings.Contains(errs, "no agent answers") {
			t.Errorf("ipam %s: got %q", verb, errs)
		}
	}
	call(t, exitUsage, "ipam", "release")
	call(t, exitUsage, "ipam", "status", "now")
}

// In a prefix that hosts share on a link, the end of an address tells whose it is.
func TestWhereisOnASharedLink(t *testing.T) {
	plan, _, _ := strings.Cut(elmPlan, "---")
	for _, name := range []string{"elm", "oak"} {
		plan += "---\napiVersion: hexapod.dev/v1alpha1\nkind: Host\nmetadata: {name: " + name + "}\n" +
			"spec: {prefix: \"2001:db8:1:2::/64\", uplinks: [{name: eth0, onLink: shared}]}\n"
	}
	conf, run := folderWith(t, plan), t.TempDir()
	for _, name := range []string{"elm", "oak"} {
		layout, err := ipam.NewOnLink(netip.MustParsePrefix("2001:db8:1:2::/64"), ipam.GroupOf(name))
		if err != nil {
			t.Fatal(err)
		}
		addr, err := layout.Encode(ipam.Fields{Born: 0x038b8d98, Sequence: 3})
		if err != nil {
			t.Fatal(err)
		}
		out, _ := call(t, exitOK, "whereis", addr.String(), "--config", conf, "--run", run)
		for what, want := range map[string]string{"host": name, "role": "endpoint", "born": "2026-11-20T09:30:00Z"} {
			if line := lineOf(out, what); !strings.HasPrefix(line, want) {
				t.Errorf("%s, %s: got %q, want %q\n%s", addr, what, line, want, out)
			}
		}
		if strings.Contains(out, "identity") {
			t.Errorf("%s says who has it:\n%s", addr, out)
		}
	}
	if _, said := call(t, exitFailed, "whereis", "2001:db8:1:2::9", "--config", conf, "--run", run); !strings.Contains(said, "is not of fabric") {
		t.Errorf("an address of another node of the link: %s", said)
	}
}
