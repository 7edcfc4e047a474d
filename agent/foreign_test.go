package agent_test

import (
	"os"
	"strings"
	"syscall"
	"testing"

	"hexapod.dev/linux/netns"
	"hexapod.dev/linux/netns/netnstest"
)

// A rule of somebody else for packets that the host forwards is honoured: packets between endpoints meet it, unless the configuration says that they
// are not to. The configuration is read anew after each change: it lets the agent look at rules at once.
func TestForwardRulesOfOthers(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	hangups := make(chan os.Signal, 1)
	h.reload = hangups
	a := h.start()
	web, db := h.endpoint("web"), h.endpoint("db")
	if _, err := a.Add(t.Context(), web); err != nil {
		t.Fatal(err)
	}
	got, err := a.Add(t.Context(), db)
	if err != nil {
		t.Fatal(err)
	}
	ns, err := netns.Open(web.NetNS)
	if err != nil {
		t.Fatal(err)
	}
	defer ns.Close()
	const never, ever = "0.3", "60" // seconds that somebody waits for the answer
	ask := func(way, host, reaches string) {
		t.Helper()
		h.configure(host)
		hangups <- syscall.SIGHUP
		until(t, "the way of packets is "+way, func() bool { return strings.HasSuffix(h.object("kernel", "datapath").Detail, "way of packets: "+way) })
		if _, err := netnstest.Try(ns, "ping -6 -c 1 -W "+reaches+" "+got.Addrs[0].String()); (err == nil) != (reaches == ever) {
			t.Errorf("with %q as way: %v", way, err)
		}
	}
	ask("direct", plan, ever)
	for _, line := range []string{"nft add table inet admin", "nft add chain inet admin onward { type filter hook forward priority 0 ; }",
		"nft add rule inet admin onward ip6 daddr " + got.Addrs[0].String() + " counter drop"} {
		netnstest.Run(t, h.ns, line)
	}
	ask("the kernel's (others have rules for forwarding: chain onward of table inet admin)", plan, never)
	if rules := netnstest.Run(t, h.ns, "nft list table inet admin"); strings.Contains(rules, "packets 0") {
		t.Errorf("the packet did not meet the rule:\n%s", rules)
	}
	ask("direct", strings.Replace(plan, "clock: trusted, uplinks", "clock: trusted, fastPath: force, uplinks", 1), ever)
	ask("the kernel's (others have rules for forwarding: chain onward of table inet admin)", plan, never)
	netnstest.Run(t, h.ns, "nft delete table inet admin")
	ask("direct", plan, ever)
}
