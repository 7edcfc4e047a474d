package lab_test

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"time"

	"golang.org/x/net/ipv6"

	"hexapod.dev/agent/local"
	"hexapod.dev/lab"
	"hexapod.dev/lab/probe"
	"hexapod.dev/lab/topology"
)

// pool has one address, which an endpoint of r1h1 may claim.
const pool = `apiVersion: hexapod.dev/v1alpha1
kind: Pool
metadata: {name: fixed}
spec: {prefix: "2001:db8:8010:3::/64", namespaces: [front]}
---
apiVersion: hexapod.dev/v1alpha1
kind: Address
metadata: {name: 20010db8801000030000000000000007}
spec: {address: "2001:db8:8010:3::7", pool: fixed, namespace: front, name: r1h1-fixed}
`

// fixed is the address of pool, which r1h1-fixed has.
var fixed = netip.MustParseAddr("2001:db8:8010:3::7")

// ledTo reports whether a router leads to the fixed address.
func (f fabric) ledTo(router string) bool {
	f.Helper()
	return slices.Contains(f.routes(router), netip.PrefixFrom(fixed, 128))
}

// withFixed gives r1h1 an endpoint with the fixed address, if it has none yet, and returns who asks for it from far and from near.
func (f fabric) withFixed() (outside, near *probe.Pinger) {
	f.Helper()
	if _, err := f.Endpoint("r1h1-fixed"); err != nil {
		if err := f.Configure("fixed.yaml", []byte(pool)); err != nil {
			f.Fatal(err)
		}
		e := lab.Endpoint{Name: "r1h1-fixed", Host: "r1h1", Namespace: "front", Labels: map[string]string{"app": "web"}, Fixed: fixed}
		f.eventually("the fixed address given", func() bool { // the agent watches its folder
			_, err := f.AddEndpoint(f.Context(), e)
			return err == nil
		})
	}
	f.eventually("the routers lead to the fixed address", func() bool { return f.ledTo("tor1") && f.ledTo(topology.Spine) })
	outside, near = f.pinger(topology.Outside), f.pinger("r1h2-e1")
	for _, p := range []*probe.Pinger{outside, near} {
		f.eventually("the fixed address answers", func() bool { _, err := p.Ping(fixed, time.Second); return err == nil })
	}
	return outside, near
}

// notDrained is the control of drain: a host that goes out of service without it is led to while nobody answers there. Its agent ends without
// a word, so that its routes stay (RFC 4724 4.2), and then its endpoint goes.
func (f fabric) notDrained() {
	const host = "r1h1"
	outside, _ := f.withFixed()
	list, err := local.NewClient(f.folder(host, "run/hexapod")).Endpoints(f.Context())
	if err != nil {
		f.Fatal(err)
	}
	at := slices.IndexFunc(list, func(e local.Endpoint) bool { return slices.Contains(e.Addrs, fixed) })
	if at < 0 {
		f.Fatalf("the agent of %s knows no endpoint with %s: %+v", host, fixed, list)
	}
	if err := f.KillAgent(host); err != nil {
		f.Fatal(err)
	}
	f.exec(host, "ip", "link", "set", list[at].Link, "down")
	if err := f.answeredWhileLed(outside, patience, func() bool { return f.ledTo(topology.Spine) }); !errors.Is(err, errNotAnswered) {
		f.Errorf("without a drain: %v; want that a question is not answered, or the test of the drain proves nothing", err)
	}
	if err := f.StartAgent(f.Context(), host); err != nil {
		f.Fatal(err)
	}
	f.eventually("the sessions of "+host+" back", func() bool { return established(f.peers(host)) })
	f.eventually("the fixed address answers again", func() bool { _, err := outside.Ping(fixed, time.Second); return err == nil })
}

// drain: as long as the spine leads to the fixed address, the client outside is answered; as long as the router of the rack does, whoever
// is near is.
func (f fabric) drain() {
	outside, near := f.withFixed()

	drained := make(chan error, 1)
	go func() {
		drained <- f.Exec("r1h1", []string{"hexapod", "drain", "--wait", "6s"}, lab.Streams{Out: os.Stderr, Err: os.Stderr})
	}()
	led := func(who string, p *probe.Pinger, router string) {
		f.Helper()
		if err := f.answeredWhileLed(p, noneAreLost, func() bool { return f.ledTo(router) }); err != nil {
			f.Fatalf("%s: %v", who, err)
		}
	}
	led("the client outside", outside, topology.Spine)
	select {
	case err := <-drained:
		f.Errorf("the fixed address was withdrawn at the end of the drain, not before it (%v)", err)
	default:
	}
	led("an endpoint of the rack", near, "tor1")
	if _, err := f.Endpoint("r1h1-fixed"); err != nil {
		f.Error(err)
	}
	f.exec("r1h1", "hexapod", "lab", "probe", "ping", "-c", "1", fixed.String()) // packets under way would still be answered
	if err := <-drained; err != nil {
		f.Fatal(err)
	}
	own, err := f.Plan().PrefixOf(f.Plan().Hosts[0])
	if err != nil {
		f.Fatal(err)
	}
	f.eventually("the prefix of the host withdrawn", func() bool { return !slices.Contains(f.routes("tor1"), own) })
	f.eventually("after the drain it speaks with nobody", func() bool { return len(f.peers("r1h1")) == 0 })
	f.exec("r1h1", "hexapod", "drain", "--undo")
	f.eventually("back in service", func() bool {
		return f.ledTo("tor1") && f.ledTo(topology.Spine) && slices.Contains(f.routes("tor1"), own)
	})
}

func (f fabric) pinger(from string) *probe.Pinger {
	f.Helper()
	in, err := f.Inside(from)
	if err != nil {
		f.Fatal(err)
	}
	p, err := probe.NewPinger(in)
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { p.Close() })
	return p
}

// errNotAnswered is the end of a question that should have been answered.
var errNotAnswered = errors.New("was not answered")

// answeredWhileLed asks for the fixed address without a pause until led is false. Until then each question has to be answered; nobody may
// say that it went in circles (RFC 4443 3.3), as it does between a router that has forgotten the way and one that has not.
func (f fabric) answeredWhileLed(p *probe.Pinger, patience time.Duration, led func() bool) error {
	f.Helper()
	asked := 0
	for began := time.Now(); asked%16 != 15 || led(); asked++ {
		if time.Since(began) > bound {
			return fmt.Errorf("after %v still led to %s", bound, fixed)
		}
		r, err := f.askWhileLed(p, patience, led)
		switch {
		case err == nil && r.Type == ipv6.ICMPTypeEchoReply:
		case err == nil && r.Type == ipv6.ICMPTypeTimeExceeded:
			return fmt.Errorf("question %d went in circles, says %s", asked, r.From)
		case led():
			return fmt.Errorf("led to %s, and question %d %w: %v %v", fixed, asked, errNotAnswered, r.Type, err)
		default:
			f.Logf("drain: asked %d times while it was led to the fixed address", asked)
			return nil
		}
	}
	f.Logf("drain: asked %d times while it was led to the fixed address", asked)
	return nil
}

// askWhileLed asks once. An answer may be late on a machine that does much else; nobody waits for it any more when led has become false.
func (f fabric) askWhileLed(p *probe.Pinger, patience time.Duration, led func() bool) (probe.Reply, error) {
	f.Helper()
	type answer struct {
		reply probe.Reply
		err   error
	}
	came := make(chan answer, 1)
	go func() { // ends with the pinger at the latest
		r, err := p.Ask(fixed, 0, patience)
		came <- answer{r, err}
	}()
	look := time.NewTicker(time.Second)
	defer look.Stop()
	for {
		select {
		case a := <-came:
			return a.reply, a.err
		case <-look.C:
			if !led() {
				return probe.Reply{}, probe.ErrLost
			}
		}
	}
}
