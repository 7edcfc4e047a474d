package local

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"hexapod.dev/edge/bgp"
	"hexapod.dev/model/announce"
)

// Speaking is a Source that speaks BGP.
type Speaking interface {
	BGPPeers() []bgp.PeerStatus
	BGPOffers(rejected bool) []bgp.Offer
	BGPSent() Sent
	// Drain takes the host out of service: services first, everything after wait. undo brings all back.
	Drain(ctx context.Context, wait time.Duration, undo bool) error
}

// Sent is what the host announces, and what it keeps to itself.
type Sent struct {
	Announced []announce.Route    `json:"announced"`
	Withheld  []announce.Withheld `json:"withheld"`
}

// SpeakingHandler answers the questions about BGP from src, and no others.
func SpeakingHandler(src Speaking) http.Handler {
	mux := http.NewServeMux()
	speaking(mux, src)
	return mux
}

func speaking(mux *http.ServeMux, src Speaking) {
	mux.HandleFunc("GET /v1/bgp/peers", func(w http.ResponseWriter, _ *http.Request) { answer(w, src.BGPPeers(), nil) })
	mux.HandleFunc("GET /v1/bgp/received", func(w http.ResponseWriter, _ *http.Request) { answer(w, src.BGPOffers(false), nil) })
	mux.HandleFunc("GET /v1/bgp/rejected", func(w http.ResponseWriter, _ *http.Request) { answer(w, src.BGPOffers(true), nil) })
	mux.HandleFunc("GET /v1/bgp/sent", func(w http.ResponseWriter, _ *http.Request) { answer(w, src.BGPSent(), nil) })
	mux.HandleFunc("POST /v1/drain", func(w http.ResponseWriter, r *http.Request) {
		wait, err := time.ParseDuration(r.URL.Query().Get("wait"))
		if err != nil || wait < 0 {
			refuse(w, http.StatusBadRequest, fmt.Errorf("wait: want a duration such as 10s"))
			return
		}
		answer(w, struct{}{}, src.Drain(r.Context(), wait, r.URL.Query().Has("undo")))
	})
}

// BGPPeers asks with whom the host speaks BGP.
func (c *Client) BGPPeers(ctx context.Context) (p []bgp.PeerStatus, err error) {
	return p, c.ask(ctx, http.MethodGet, "/v1/bgp/peers", &p)
}

// BGPOffers asks what peers offer; rejected: that of it which is not taken.
func (c *Client) BGPOffers(ctx context.Context, rejected bool) (o []bgp.Offer, err error) {
	what := "received"
	if rejected {
		what = "rejected"
	}
	return o, c.ask(ctx, http.MethodGet, "/v1/bgp/"+what, &o)
}

// BGPSent asks what the host announces.
func (c *Client) BGPSent(ctx context.Context) (s Sent, err error) {
	return s, c.ask(ctx, http.MethodGet, "/v1/bgp/sent", &s)
}

// Drain takes the host out of service and returns when it is, or brings it back.
func (c *Client) Drain(ctx context.Context, wait time.Duration, undo bool) error {
	q := url.Values{"wait": {wait.String()}}
	if undo {
		q.Set("undo", "")
	}
	return c.ask(ctx, http.MethodPost, "/v1/drain?"+q.Encode(), &struct{}{})
}
