package lab_test

import (
	"net/netip"
	"os"
	"slices"
	"time"

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

// drain: as long as the router of the rack leads to the fixed address, whoever follows it is answered. (Farther off routers learn of
// the withdrawal one after the other, and meanwhile may lead packets in circles.)
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
	led := func() bool { return at("tor1") }
	f.eventually("the routers lead to the fixed address", func() bool { return led() && at(topology.Spine) })
	in, err := f.Inside("r1h2-e1")
	if err != nil {
		f.Fatal(err)
	}
	p, err := probe.NewPinger(in)
	if err != nil {
		f.Fatal(err)
	}
	defer p.Close()
	if _, err := p.Ping(fixed, patience); err != nil {
		f.Fatal(err)
	}

	drained := make(chan error, 1)
	go func() {
		drained <- f.Exec("r1h1", []string{"hexapod", "drain", "--wait", "6s"}, lab.Streams{Out: os.Stderr, Err: os.Stderr})
	}()
	asked, late := 0, 0
	f.eventually("the fixed address withdrawn", func() bool {
		if !led() {
			return true
		}
		asked++
		if _, err := p.Ping(fixed, time.Second); err != nil {
			if !led() { // withdrawn between the look and the question
				late++
				return true
			}
			f.Errorf("led to the fixed address and not answered: %v", err)
		}
		return false
	})
	f.Logf("drain: %d questions along the route, %d of them lost to the withdrawal itself", asked, late)
	f.eventually("the spine does not lead there either", func() bool { return !at(topology.Spine) })
	select {
	case err := <-drained:
		f.Errorf("the fixed address was withdrawn at the end of the drain, not before it (%v)", err)
	default:
	}
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
	f.eventually("back in service", func() bool { return led() && slices.Contains(f.routes("tor1"), own) })
}
