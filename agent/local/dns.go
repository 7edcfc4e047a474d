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
	DNSLookup(ctx context.Context, name, typ string, client dns64.Client) (dns.Lookup, error)
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
		q, client := r.URL.Query(), dns64.SixOnly
		switch q.Get("client") {
		case "", "six-only":
		case "capable":
			client = dns64.Capable
		default:
			refuse(w, http.StatusBadRequest, fmt.Errorf("client: want six-only or capable"))
			return
		}
		l, err := src.DNSLookup(r.Context(), q.Get("name"), q.Get("type"), client)
		answer(w, l, err)
	})
}

// DNS asks how the DNS server of the host does.
func (c *Client) DNS(ctx context.Context) (d DNS, err error) {
	return d, c.ask(ctx, http.MethodGet, "/v1/dns", &d)
}

// DNSLookup looks a name up as an endpoint of the host does. client is six-only or capable.
func (c *Client) DNSLookup(ctx context.Context, name, typ, client string) (l dns.Lookup, err error) {
	q := url.Values{"name": {name}, "type": {typ}, "client": {client}}
	return l, c.ask(ctx, http.MethodGet, "/v1/dns/lookup?"+q.Encode(), &l)
}
