package kube

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	kobjects "hexapod.dev/edge/kube/objects"
	"hexapod.dev/model/service"
)

// heard is a sink that writes down what it is told, as the frontends of a host.
type heard struct {
	t     *testing.T
	board service.Board
	place service.Place
	lines []string
}

func (h *heard) Whole(_ context.Context, all []service.Source) {
	h.board = service.Board{}
	for _, s := range all {
		h.board.Put(s, h.place)
	}
	h.lines = append(h.lines, fmt.Sprintf("whole %d", len(all)))
}

func (h *heard) Put(_ context.Context, s service.Source) {
	h.board.Put(s, h.place)
	h.lines = append(h.lines, "put "+s.Service.Name.String())
}

func (h *heard) Drop(_ context.Context, n service.Name) {
	h.board.Delete(n)
	h.lines = append(h.lines, "drop "+n.String())
}

func (h *heard) Where(p service.Place) {
	h.place = p
	h.lines = append(h.lines, "at "+p.Node+" in "+p.Zone)
}

// said returns what was heard since the last call.
func (h *heard) said() []string {
	out := h.lines
	h.lines = nil
	return out
}

// frontends lists what a host would lead.
func (h *heard) frontends() (out []string) {
	for _, f := range h.board.All() {
		line := f.Key.String() + " ->"
		for _, b := range f.Backends {
			line += " " + b.String()
		}
		if f.AffinitySeconds > 0 {
			line += fmt.Sprint(" affinity ", f.AffinitySeconds)
		}
		if f.Why != "" {
			line += ": " + string(f.Why)
		}
		out = append(out, line)
	}
	slices.Sort(out)
	return out
}

func (h *heard) expect(what string, said []string, frontends ...string) {
	h.t.Helper()
	if d := cmp.Diff(said, h.said()); d != "" {
		h.t.Errorf("%s: -want +said\n%s", what, d)
	}
	if d := cmp.Diff(frontends, h.frontends()); d != "" {
		h.t.Errorf("%s: -want +led\n%s", what, d)
	}
}

func parsed[T any](t *testing.T, text string) *T {
	t.Helper()
	var o T
	if err := json.Unmarshal([]byte(text), &o); err != nil {
		t.Fatal(err)
	}
	return &o
}

const (
	webService = `{"metadata":{"namespace":"shop","name":"web"},"spec":{"clusterIPs":["2001:db8:f::1","192.0.2.1"],
		"ports":[{"name":"http","protocol":"TCP","port":80}],"sessionAffinity":"ClientIP","sessionAffinityConfig":{"clientIP":{"timeoutSeconds":90}}}}`
	headlessService = `{"metadata":{"namespace":"shop","name":"db"},"spec":{"clusterIP":"None","clusterIPs":["None"],"ports":[{"port":5432}]}}`
	externalService = `{"metadata":{"namespace":"shop","name":"far"},"spec":{"type":"ExternalName"}}`
	webSlice        = `{"metadata":{"namespace":"shop","name":"web-a","labels":{"kubernetes.io/service-name":"web"}},"addressType":"IPv6",
		"ports":[{"name":"http","protocol":"TCP","port":8080},{"name":"nowhere","protocol":"TCP"}],
		"endpoints":[{"addresses":["2001:db8:1::1"],"conditions":{}},{"addresses":["2001:db8:1::2"],"conditions":{"ready":false}},
			{"addresses":["2001:db8:1::3"],"conditions":{"ready":false,"serving":true,"terminating":true}},{"addresses":[]},{"addresses":["worse"]}]}`
)

func TestServiceFeed(t *testing.T) {
	h := &heard{t: t}
	f := &serviceFeed{ctx: t.Context(), sink: h, published: &published{news: make(chan struct{}, 1)}, words: map[string]string{}, place: service.Place{Node: "n1"}}
	svc := func(text string) *kobjects.Service { return parsed[kobjects.Service](t, text) }
	slice := func(text string) *kobjects.EndpointSlice { return parsed[kobjects.EndpointSlice](t, text) }

	serviceSide{f}.Replace(kobjects.Listing[kobjects.Service]{Objects: []*kobjects.Service{svc(webService), svc(headlessService), svc(externalService)}})
	h.expect("half a list", nil)
	sliceSide{f}.Replace(kobjects.Listing[kobjects.EndpointSlice]{Objects: []*kobjects.EndpointSlice{slice(webSlice)}})
	none := "192.0.2.1:80 TCP -> affinity 90: it has no endpoints"
	h.expect("both lists", []string{"whole 3"}, none, "[2001:db8:f::1]:80 TCP -> [2001:db8:1::1]:8080 affinity 90")

	second := `{"metadata":{"namespace":"shop","name":"web-b","labels":{"kubernetes.io/service-name":"%s"}},"addressType":"IPv6",
		"ports":[{"name":"http","port":8081}],"endpoints":[{"addresses":["2001:db8:2::1"],"nodeName":"n1","zone":"z1","hints":{"forZones":[{"name":"z1"}]}}]}`
	sliceSide{f}.Apply(kobjects.Change[kobjects.EndpointSlice]{Object: slice(fmt.Sprintf(second, "web"))})
	h.expect("a second slice", []string{"put shop/web"}, none, "[2001:db8:f::1]:80 TCP -> [2001:db8:1::1]:8080 [2001:db8:2::1]:8081 affinity 90")

	sliceSide{f}.Apply(kobjects.Change[kobjects.EndpointSlice]{Object: slice(webSlice), Gone: true})
	h.expect("the first slice gone", []string{"put shop/web"}, none, "[2001:db8:f::1]:80 TCP -> [2001:db8:2::1]:8081 affinity 90")

	sliceSide{f}.Apply(kobjects.Change[kobjects.EndpointSlice]{Object: slice(fmt.Sprintf(second, "other"))})
	h.expect("the slice is another service's now", []string{"put shop/web"}, none, "[2001:db8:f::1]:80 TCP -> affinity 90: it has no endpoints")

	placeSide{f}.Apply(kobjects.Change[kobjects.Node]{Object: parsed[kobjects.Node](t, `{"metadata":{"name":"n1","labels":{"topology.kubernetes.io/zone":"z1"}}}`)})
	serviceSide{f}.Apply(kobjects.Change[kobjects.Service]{Object: svc(webService), Gone: true})
	h.expect("the service gone", []string{"at n1 in z1", "drop shop/web"})
	sliceSide{f}.Apply(kobjects.Change[kobjects.EndpointSlice]{Object: slice(webSlice)})
	h.expect("a slice before its service", nil)
	serviceSide{f}.Apply(kobjects.Change[kobjects.Service]{Object: svc(webService)})
	h.expect("the service again", []string{"put shop/web"}, none, "[2001:db8:f::1]:80 TCP -> [2001:db8:1::1]:8080 affinity 90")
}

// staging/src/k8s.io/api/discovery/v1: what is absent means ready; serving follows ready.
func TestConditionsThatAreAbsent(t *testing.T) {
	for text, want := range map[string]service.State{
		`{}`:                                  service.Ready | service.Serving,
		`{"ready":true}`:                      service.Ready | service.Serving,
		`{"ready":false}`:                     0,
		`{"ready":false,"serving":true}`:      service.Serving,
		`{"terminating":true,"ready":false}`:  service.Terminating,
		`{"serving":false}`:                   service.Ready,
		`{"terminating":false,"ready":false}`: 0,
	} {
		if have := stateOf(*parsed[kobjects.SliceConditions](t, text)); have != want {
			t.Errorf("%s: %b, want %b", text, have, want)
		}
	}
}

func TestServiceWithoutTimeout(t *testing.T) {
	s := serviceOf(parsed[kobjects.Service](t, `{"spec":{"sessionAffinity":"ClientIP","internalTrafficPolicy":"Local","trafficDistribution":"PreferClose","publishNotReadyAddresses":true},
		"metadata":{"labels":{"service.kubernetes.io/service-proxy-name":"mine"}}}`))
	if s.AffinitySeconds != 10800 || !s.LocalOnly || s.Distribution != service.PreferClose || !s.NotReadyToo || s.Proxy != "mine" {
		t.Errorf("%+v", s)
	}
}

func TestPodThatTranslatesPackets(t *testing.T) {
	for text, want := range map[string]bool{
		`{"metadata":{"annotations":{"hexapod.dev/service-translation":"packet"}}}`:  true,
		`{"metadata":{"annotations":{"hexapod.dev/service-translation":"connect"}}}`: false,
		`{}`: false,
	} {
		if p := podOf(parsed[kobjects.Pod](t, text)); p.Packets != want {
			t.Errorf("%s: %v, want %v", text, p.Packets, want)
		}
	}
}
