package agent_test

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"

	"hexapod.dev/agent"
	"hexapod.dev/agent/local"
)

// SIGHUP reads the folder again, also when nothing in it changed.
func TestReloadSignal(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	hangups := make(chan os.Signal, 1)
	h.reload = hangups
	h.start()
	loads := func() (n int) {
		m, err := h.client().Metrics(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		_, rest, ok := strings.Cut(m, "\nhexapod_config_loads_total{result=\"ok\"} ")
		if _, err := fmt.Sscan(rest, &n); !ok || err != nil {
			t.Fatalf("no count of loads: %v", err)
		}
		return n
	}
	until(t, "the watch of the folder had its first look", func() bool { return loads() == 2 })
	hangups <- syscall.SIGHUP
	until(t, "the folder is read once more", func() bool { return loads() == 3 })
}

// At the start there is no older configuration that could go on.
func TestStartNeedsAGoodFolder(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, text, says string }{
		{"wrong", "apiVersion: hexapod.dev/v1alpha1\nkind: Host\nmetadata: {name: h1}\nspec: {nummber: 1}\n", "nummber"},
		{"without this host", strings.Replace(plan, "{name: h1}", "{name: h7}", 1), "h1"},
	} {
		h := newHost(t)
		h.configure(c.text)
		if err := agent.New(h.options()).Run(t.Context()); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want an error that names %q", c.name, err, c.says)
		}
	}
}

// A change that was made while no agent ran and renumbers living endpoints is refused as well.
func TestStartRefusesToRenumber(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	a := h.start()
	if _, err := a.Add(t.Context(), h.endpoint("web")); err != nil {
		t.Fatal(err)
	}
	if err := h.stop(); err != nil {
		t.Fatal(err)
	}
	before := h.ip()
	h.configure(strings.Replace(plan, "rack: r1, number: 1, clock", "rack: r1, number: 9, clock", 1))
	if err := agent.New(h.options()).Run(t.Context()); err == nil || !strings.Contains(err.Error(), "web/eth0") {
		t.Errorf("start with another number: %v, want an error that names the living endpoint", err)
	}
	if now := h.ip(); now != before {
		t.Errorf("the refused start changed the host:\n%s\nbefore:\n%s", now, before)
	}
}

// Peers, uplinks and their reasons stand in the status in the words of the model.
func TestStatusNamesReasons(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.configure(strings.Replace(plan, `address: "fd7c:a1b2:c3d4::2", segment: s1`, `address: "fd7c:a1b2:c3d4::2", segment: s2`, 1))
	h.start()
	if o := h.object("peer", "h2"); o.State != local.Failed || !strings.Contains(o.Why, "no uplink of this host shares a segment") {
		t.Errorf("peer without a way: %+v", o)
	}
	for _, kind := range []string{"config", "host", "clock", "kernel", "uplink"} {
		if o := h.object(kind, ""); o.State != local.Done {
			t.Errorf("%s: %+v, want done", kind, o)
		}
	}
}
