package lab

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"hexapod.dev/agent/local"
	"hexapod.dev/api/v1alpha1"
	"hexapod.dev/lab/probe"
	"hexapod.dev/lab/topology"
	"hexapod.dev/model/datapath"
	"hexapod.dev/model/policy"
	"hexapod.dev/model/transport"
)

// published is a set of endpoints that the outside may reach by HTTP.
type published struct {
	Namespace string            `json:"namespace"`
	Labels    map[string]string `json:"labels"`
}

// publicationsFile is what Publish writes.
const publicationsFile = "publications.yaml"

// plan is the AddressPlan of the lab, as its hosts read it.
func (s *state) plan() *v1alpha1.AddressPlan {
	cluster := v1alpha1.Cluster{Name: clusterName, Number: clusterNumber}
	for r := 1; r <= s.Size.Racks; r++ {
		cluster.Racks = append(cluster.Racks, v1alpha1.Rack{Name: rackName(r), Number: uint32(r)})
	}
	spec := v1alpha1.AddressPlanSpec{
		Prefix: v1alpha1.PrefixFrom(fabricPrefix), Lab: true, Clusters: []v1alpha1.Cluster{cluster}, ASN: v1alpha1.ASNPlan{Spine: spineASN},
	}
	if s.Open {
		spec.Outside = v1alpha1.OutsideOpen
	}
	if at := s.nameServer(); at.IsValid() {
		spec.DNS = &v1alpha1.DNS{Upstreams: []v1alpha1.DNSServer{v1alpha1.DNSServer(at.String())}}
	}
	return v1alpha1.NewAddressPlan("lab", spec)
}

// publications are the objects that open what was published.
func (s *state) publications() (out []v1alpha1.Object) {
	port := v1alpha1.PortRef(strconv.Itoa(probe.Port))
	for i, p := range s.Published {
		out = append(out, v1alpha1.NewPublication(fmt.Sprintf("lab-%d", i+1), v1alpha1.PublicationSpec{
			Namespace: p.Namespace, PodSelector: v1alpha1.LabelSelector{MatchLabels: p.Labels}, Ports: []v1alpha1.NetworkPolicyPort{{Port: &port}},
		}))
	}
	return out
}

// isPublished reports whether the outside may reach an endpoint.
func (s *state) isPublished(e Endpoint) bool {
	return slices.ContainsFunc(s.Published, func(p published) bool {
		return p.Namespace == e.Namespace && maps.Equal(p.Labels, e.Labels)
	})
}

// publishPatience bounds how long agents may take to open what was published.
const publishPatience = 30 * time.Second

// Publish opens the HTTP port of an endpoint, and of all with its namespace and labels, to the outside. It returns the names of those, and what
// was written for it.
func (l *Lab) Publish(ctx context.Context, name string) (names []string, text []byte, err error) {
	e, err := l.Endpoint(name)
	if err != nil {
		return nil, nil, err
	}
	if !l.state.isPublished(e) {
		l.state.Published = append(l.state.Published, published{e.Namespace, e.Labels})
	}
	if text, err = v1alpha1.Encode(l.state.publications()...); err != nil {
		return nil, nil, err
	}
	if err := errors.Join(l.save(), l.Configure(publicationsFile, text)); err != nil {
		return nil, text, err
	}
	ctx, cancel := context.WithTimeout(ctx, publishPatience)
	defer cancel()
	for _, e := range l.Endpoints() {
		if !l.state.isPublished(e) {
			continue
		}
		if err := l.untilOpen(ctx, e); err != nil {
			return names, text, err
		}
		names = append(names, e.Name)
	}
	return names, text, nil
}

// untilOpen waits until the host of an endpoint lets the outside in, also in its kernel.
func (l *Lab) untilOpen(ctx context.Context, e Endpoint) error {
	agent := local.NewClient(l.folder(e.Host, "run/hexapod"))
	q := local.PolicyQuestion{From: topology.OutsideAddr.String(), To: e.Addr.String(), Protocol: transport.TCP, Port: probe.Port}
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for {
		a, err := agent.ExplainPolicy(ctx, q)
		if err == nil && a.Accepted && a.Verdicts[len(a.Verdicts)-1].Kernel == local.PolicyAgrees {
			return nil
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			return errors.Join(fmt.Errorf("endpoint %s was published, and %s does not open it to the outside", e.Name, e.Host), err)
		}
	}
}

// refusals are the packets from outside that hosts refused, by the endpoint that they were for.
type refusals struct {
	mu   sync.Mutex
	rule map[netip.Addr]string
}

// watchRefusals follows what hosts drop until stop is called.
func (l *Lab) watchRefusals(ctx context.Context) (r *refusals, stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	r = &refusals{rule: map[netip.Addr]string{}}
	var following errgroup.Group
	for _, h := range l.state.Hosts {
		following.Go(func() error {
			return local.NewClient(l.folder(h.Name, "run/hexapod")).FollowDrops(ctx, func(d local.Drop) error {
				if d.Why == datapath.Denied.String() && d.From.Addr() == topology.OutsideAddr {
					r.mu.Lock()
					defer r.mu.Unlock()
					r.rule[d.To.Addr()] = d.Rule
				}
				return nil
			})
		})
	}
	return r, func() {
		cancel()
		_ = following.Wait() // a host that tells nothing refuses nothing: its pairs say so
	}
}

func (r *refusals) of(a netip.Addr) (rule string, refused bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	rule, refused = r.rule[a]
	return rule, refused
}

// refusedPing is how long one echo request waits for an answer that must not come.
const refusedPing = 50 * time.Millisecond

// refuse asks until the host of dst says that it refused. No answer alone proves nothing: it may have been lost on the way.
func (p *Pair) refuse(ctx context.Context, pinger *probe.Pinger, dst netip.Addr, r *refusals) {
	ctx, cancel := context.WithTimeout(ctx, probePatience)
	defer cancel()
	for ctx.Err() == nil {
		p.Sent++
		_, err := pinger.Ping(dst, refusedPing)
		rule, refused := r.of(dst)
		switch {
		case err == nil:
			p.Err = errors.New("ping: answered, and nothing is published")
			return
		case !errors.Is(err, probe.ErrLost):
			p.Err = fmt.Errorf("ping: %w", err)
			return
		case refused && rule != policy.ByOutside:
			p.Err = fmt.Errorf("ping: refused, but by: %s", rule)
			return
		case refused:
			p.Refused = rule
			return
		}
	}
	p.Lost++
	p.Err = fmt.Errorf("ping: no host refused it within %v, and nobody answered", probePatience)
}

// CheckOutside checks the pairs from the outside alone.
func (l *Lab) CheckOutside(ctx context.Context) ([]Pair, error) {
	return l.checkPairs(ctx, []string{topology.Outside}, nil)
}
