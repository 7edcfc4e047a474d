package agent_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"hexapod.dev/agent/local"
	"hexapod.dev/linux/netns"
	"hexapod.dev/model/policy"
	"hexapod.dev/model/transport"
)

const database = `
---
apiVersion: hexapod.dev/v1alpha1
kind: Identity
metadata: {name: id-301}
spec: {number: 301, namespace: shop, labels: {app: db}}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: db, namespace: shop}
spec:
  podSelector: {matchLabels: {app: db}}
  policyTypes: [Ingress]
`

const allowWeb = `  ingress:
  - from: [{podSelector: {matchLabels: {app: web}}}]
    ports: [{port: 5432}]
`

// lost is how long a test waits for what must not come.
const lost = 500 * time.Millisecond

// echo answers on a port of an endpoint with what it is sent, until the test ends.
func echo(t *testing.T, path, port string) {
	t.Helper()
	var l net.Listener
	within(t, path, func() (err error) {
		l, err = net.Listen("tcp6", "[::]:"+port)
		return err
	})
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				_, _ = io.Copy(c, c) // ends when either side does
				c.Close()
			}()
		}
	}()
}

// dial connects from an endpoint.
func dial(t *testing.T, path string, to netip.Addr, port uint16, patience time.Duration) (c net.Conn, err error) {
	t.Helper()
	within(t, path, func() error {
		c, err = net.DialTimeout("tcp6", netip.AddrPortFrom(to, port).String(), patience)
		return nil
	})
	return c, err
}

func within(t *testing.T, path string, do func() error) {
	t.Helper()
	ns, err := netns.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer ns.Close()
	if err := ns.Do(do); err != nil {
		t.Fatal(err)
	}
}

// answers reports whether a connection still carries words both ways.
func answers(t *testing.T, c net.Conn, patience time.Duration) bool {
	t.Helper()
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	_, err := io.ReadFull(c, make([]byte, 5))
	if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatal(err)
	}
	return err == nil
}

// TestPolicy closes an endpoint but for one port and one peer, finds that in the explanation and in the kernel, and cuts a living connection
// when the policy is tightened. A restarted agent finds everything in force.
func TestPolicy(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.configure(plan + database + allowWeb)
	a := h.start()
	web, db := h.endpoint("web"), h.endpoint("db")
	db.Labels = map[string]string{"app": "db"}
	if _, err := a.Add(t.Context(), web); err != nil {
		t.Fatal(err)
	}
	got, err := a.Add(t.Context(), db)
	if err != nil {
		t.Fatal(err)
	}
	to := got.Addrs[0]
	echo(t, db.NetNS, "5432")
	echo(t, db.NetNS, "5433")
	living, err := dial(t, web.NetNS, to, 5432, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	defer living.Close()
	if !answers(t, living, time.Minute) {
		t.Error("what the policy accepts does not pass")
	}
	if c, err := dial(t, web.NetNS, to, 5433, lost); err == nil {
		c.Close()
		t.Error("a port that no rule accepts can be reached")
	}
	h.reaches(to.String()) // from the host, which may probe its endpoints

	explain := func(port uint16) local.PolicyVerdict {
		t.Helper()
		e, err := h.client().ExplainPolicy(t.Context(), local.PolicyQuestion{From: "shop/web", To: to.String(), Protocol: transport.TCP, Port: port})
		if err != nil || len(e.Verdicts) != 2 {
			t.Fatalf("%+v, %v", e, err)
		}
		if e.Verdicts[0].Rule != policy.ByDefault || e.Verdicts[0].Kernel != local.PolicyAgrees {
			t.Errorf("egress of web: %+v", e.Verdicts[0])
		}
		return e.Verdicts[1]
	}
	if v := explain(5432); v.Action != "accept" || v.Rule != "NetworkPolicy shop/db, ingress 0" || v.Kernel != local.PolicyAgrees || !strings.Contains(v.Written, "fabric.yaml:") {
		t.Errorf("port 5432: %+v", v)
	}
	if v := explain(5433); v.Action != "deny" || v.Rule != policy.ByIsolation || v.Kernel != local.PolicyAgrees {
		t.Errorf("port 5433: %+v", v)
	}
	following, enough := context.WithTimeout(t.Context(), time.Minute)
	rules := make(chan string, 1)
	go func() {
		_ = h.client().FollowDrops(following, func(d local.Drop) error { // ends with following
			if d.To.Port() == 5433 {
				rules <- d.Rule
				enough()
			}
			return nil
		})
		close(rules)
	}()
	for following.Err() == nil { // until somebody listens
		if c, err := dial(t, web.NetNS, to, 5433, lost/5); err == nil {
			c.Close()
		}
	}
	if rule := <-rules; rule != policy.ByIsolation {
		t.Errorf("the drop is told as %q", rule)
	}
	shown, err := h.client().ShowPolicy(t.Context(), "shop/db")
	if err != nil || len(shown.Rows) != 4 { // its host, the rule, closed; egress is open
		t.Errorf("%+v, %v", shown, err)
	}

	h.configure(plan + database)
	inForce := func(action string) func() bool {
		return func() bool { v := explain(5432); return v.Action == action && v.Kernel == local.PolicyAgrees }
	}
	until(t, "the tightened policy is in force", inForce("deny"))
	if answers(t, living, lost) {
		t.Error("a living connection goes on against the policy")
	}
	if err := h.stop(); err != nil {
		t.Fatal(err)
	}
	if c, err := dial(t, web.NetNS, to, 5432, lost); err == nil {
		c.Close()
		t.Error("without an agent the policy is gone")
	}
	a = h.start()
	if v := explain(5432); v.Action != "deny" || v.Kernel != local.PolicyAgrees {
		t.Errorf("after a restart: %+v", v)
	}
	h.configure(plan + database + allowWeb)
	until(t, "the loosened policy is in force", inForce("accept"))
	c, err := dial(t, web.NetNS, to, 5432, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	if o := h.object("policy", "rules"); o.State != local.Done || !strings.HasPrefix(o.Detail, "1 policies, ") {
		t.Errorf("%+v", o)
	}
	if err := a.Del(context.WithoutCancel(t.Context()), db); err != nil {
		t.Error(err)
	}
}
