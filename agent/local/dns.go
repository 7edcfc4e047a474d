package local

import (
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"

	"hexapod.dev/edge/dns"
	"hexapod.dev/model/dns64"
)

// Resolving is a Source that answers lookups of its endpoints.
type Resolving interface {
	DNS(context.Context) (DNS, error)
	DNSLookup(context.Context, dns.LookupRequest) (Lookup, error)
}

// Lookup is an answer, how it came to be, and where the prefixes come from that addresses are made with.
type Lookup struct {
	dns.Lookup
	Upstream *Upstream `json:"upstream,omitempty"` // nil: this host uses no NAT64 of others
}

// DNS is how the DNS server of the host does.
type DNS struct {
	At     netip.AddrPort `json:"at"`
	PID    int            `json:"pid,omitempty"`
	Starts int            `json:"starts"`        // of the child, by this agent
	Leads  bool           `json:"leads"`         // clients of the cluster's DNS are led here
	Why    string         `json:"why,omitempty"` // why it does not answer
	Server dns.Status     `json:"server"`
}

func resolving(mux *http.ServeMux, src Resolving) {
	mux.HandleFunc("GET /v1/dns", func(w http.ResponseWriter, r *http.Request) {
		d, err := src.DNS(r.Context())
		answer(w, d, err)
	})
	mux.HandleFunc("GET /v1/dns/lookup", func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		ask := dns.LookupRequest{Name: q.Get("name"), Type: q.Get("type"), Client: dns64.SixOnly}
		switch client := q.Get("client"); client {
		case "", "six-only":
		case "capable":
			ask.Client = dns64.Capable
		default:
			var err error
			if ask.From, err = netip.ParseAddr(client); err != nil {
				refuse(w, http.StatusBadRequest, fmt.Errorf("client: want six-only, capable or the address of an endpoint of this host"))
				return
			}
		}
		l, err := src.DNSLookup(r.Context(), ask)
		answer(w, l, err)
	})
}

// DNS asks how the DNS server of the host does.
func (c *Client) DNS(ctx context.Context) (d DNS, err error) {
	return d, c.ask(ctx, http.MethodGet, "/v1/dns", &d)
}

// DNSLookup looks a name up as an endpoint of the host does. client is six-only, capable, or the address of an endpoint.
func (c *Client) DNSLookup(ctx context.Context, name, typ, client string) (l Lookup, err error) {
	q := url.Values{"name": {name}, "type": {typ}, "client": {client}}
	return l, c.ask(ctx, http.MethodGet, "/v1/dns/lookup?"+q.Encode(), &l)
}
