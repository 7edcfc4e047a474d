package local

import (
	"context"
	"net/http"
	"net/netip"
)

// Upstream is what a host knows of a NAT64 that others run and it uses.
type Upstream struct {
	Translation string             `json:"translation"`         // that says so; empty: none does
	Why         string             `json:"why,omitempty"`       // why no prefix is used
	Links       []string           `json:"links,omitempty"`     // on which routers are listened to
	Prefixes    []UpstreamPrefix   `json:"prefixes"`            // that were found, those that are used first
	Resolvers   []UpstreamResolver `json:"resolvers,omitempty"` // that were asked, and what they said
	Problem     string             `json:"problem,omitempty"`   // why one of the ways cannot be gone
}

// UpstreamPrefix is a prefix that somebody outside tells.
type UpstreamPrefix struct {
	Prefix netip.Prefix `json:"prefix"`
	Source string       `json:"source"`         // ra, dns or given
	From   string       `json:"from,omitempty"` // router and link, or server
	Left   int64        `json:"left,omitempty"` // seconds for which it still counts; 0 of one that is given: for ever
	Used   bool         `json:"used"`
	Why    string       `json:"why,omitempty"` // why it is not used
}

// UpstreamResolver is what a resolver said.
type UpstreamResolver struct {
	Server string `json:"server"`
	Said   string `json:"said"`
	Next   int64  `json:"next"` // seconds until it is asked again
}

func upstream(mux *http.ServeMux, src Translating) {
	mux.HandleFunc("GET /v1/nat64/upstream", func(w http.ResponseWriter, _ *http.Request) { answer(w, src.NAT64Upstream(), nil) })
}

// NAT64Upstream asks what the host knows of a NAT64 that others run.
func (c *Client) NAT64Upstream(ctx context.Context) (u Upstream, err error) {
	return u, c.ask(ctx, http.MethodGet, "/v1/nat64/upstream", &u)
}
