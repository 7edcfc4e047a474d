package lab_test

import (
	"net/netip"
	"os"
	"slices"
	"time"

	"golang.org/x/net/ipv6"

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

// drain: as long as the spine leads to the fixed address, the client outside is answered; as long as the router of the rack does, whoever
// is near is.
func (f fabric) drain() {
	fixed := netip.MustParseAddr("2001:db8:8010:3::7")
	if err := f.Configure("fixed.yaml", []byte(pool)); err != nil {
		f.Fatal(err)
	}
	e := lab.Endpoint{Name: "r1h1-fixed", Host: "r1h1", Namespace: "front", Labels: map[string]string{"app": "web"}, Fixed: fixed}
	f.eventually("the fixed address given", func() bool { // the agent watches its folder
		_, err := f.AddEndpoint(f.Context(), e)
		return err == nil
	})
	at := func(router string) bool { return slices.Contains(f.routes(router), netip.PrefixFrom(fixed, 128)) }
	f.eventually("the routers lead to the fixed address", func() bool { return at("tor1") && at(topology.Spine) })
	outside, near := f.pinger(topology.Outside), f.pinger("r1h2-e1")
	for _, p := range []*probe.Pinger{outside, near} {
		f.eventually("the fixed address answers", func() bool { _, err := p.Ping(fixed, time.Second); return err == nil })
	}

	drained := make(chan error, 1)
	go func() {
		drained <- f.Exec("r1h1", []string{"hexapod", "drain", "--wait", "6s"}, lab.Streams{Out: os.Stderr, Err: os.Stderr})
	}()
	f.answeredWhileLed("the client outside", outside, fixed, func() bool { return at(topology.Spine) })
	select {
	case err := <-drained:
		f.Errorf("the fixed address was withdrawn at the end of the drain, not before it (%v)", err)
	default:
	}
	f.answeredWhileLed("an endpoint of the rack", near, fixed, func() bool { return at("tor1") })
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
	f.eventually("back in service", func() bool { return at("tor1") && at(topology.Spine) && slices.Contains(f.routes("tor1"), own) })
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

// answeredWhileLed asks dst without a pause until led is false. Until then each question has to be answered; nobody may say that
// it went in circles (RFC 4443 3.3), as it does between a router that has forgotten the way and one that has not.
func (f fabric) answeredWhileLed(who string, p *probe.Pinger, dst netip.Addr, led func() bool) {
	f.Helper()
	asked, there := 0, true
	for began := time.Now(); there; {
		if time.Since(began) > bound {
			f.Fatalf("after %v %s is still led to %s", bound, who, dst)
		}
		r, err := p.Ask(dst, 0, time.Second)
		asked++
		switch {
		case err == nil && r.Type == ipv6.ICMPTypeEchoReply:
			there = asked%16 != 0 || led()
		case err == nil && r.Type == ipv6.ICMPTypeTimeExceeded:
			f.Fatalf("%s: question %d went in circles, says %s", who, asked, r.From)
		case led():
			f.Fatalf("%s: led to %s, and question %d was not answered: %v %v", who, dst, asked, r.Type, err)
		default:
			there = false
		}
	}
	f.Logf("drain: %s asked %d times while it was led to the fixed address", who, asked)
}
