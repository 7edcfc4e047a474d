package sysctl_test

import (
	"errors"
	"io/fs"
	"testing"

	"github.com/google/go-cmp/cmp"

	"hexapod.dev/linux/netns/netnstest"
	"hexapod.dev/linux/sysctl"
	"hexapod.dev/model/diff"
)

func TestReconcileSettings(t *testing.T) {
	ns, other := netnstest.New(t), netnstest.New(t)
	table := sysctl.Open(ns)
	want := map[sysctl.Key]string{
		sysctl.IPv6("default", "hop_limit"): "63",
		sysctl.IPv6("default", "mtu"):       "1280", // so already
		"net/ipv4/ping_group_range":         "0 7",  // the kernel shows a tab between them
	}
	for _, expect := range []diff.Delta[sysctl.Key]{
		{Change: []sysctl.Key{"net/ipv4/ping_group_range", sysctl.IPv6("default", "hop_limit")}},
		{},
	} {
		delta, err := table.Reconcile(want)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(expect, delta); d != "" {
			t.Errorf("delta (-want +have):\n%s", d)
		}
	}
	if v, err := sysctl.Open(other).Read(sysctl.IPv6("default", "hop_limit")); err != nil || v != "64" {
		t.Errorf("another namespace: %q, %v", v, err)
	}
}

func TestSettingsErrors(t *testing.T) {
	table := sysctl.Open(netnstest.New(t))
	missing := sysctl.IPv6("nothere", "accept_ra")
	if _, err := table.Read(missing); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing link: %v, want fs.ErrNotExist", err)
	}
	hop := sysctl.IPv6("default", "hop_limit")
	delta, err := table.Reconcile(map[sysctl.Key]string{missing: "2", hop: "62"})
	if !errors.Is(err, fs.ErrNotExist) || len(delta.Change) != 1 || delta.Change[0] != hop {
		t.Errorf("one failure keeps the others from being set: %v, %v", delta, err)
	}
	for _, key := range []sysctl.Key{"kernel/hostname", "net/../kernel/hostname", "net/ipv6/conf/all/../default/mtu", ""} {
		if _, err := table.Read(key); err == nil {
			t.Errorf("Read(%q) leaves the namespace's settings", key)
		}
	}
	if err := table.Write(hop, "words"); err == nil {
		t.Error("the kernel's refusal is hidden")
	}
}

func TestLinkNameWithADot(t *testing.T) {
	ns := netnstest.New(t)
	netnstest.Run(t, ns, "ip link add eth0.100 type bridge")
	if err := sysctl.Open(ns).Write(sysctl.IPv6("eth0.100", "accept_ra"), "2"); err != nil {
		t.Error(err)
	}
}
