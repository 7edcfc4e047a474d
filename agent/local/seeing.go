package local

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
)

// Seeing is a Source that looks into the datapath.
type Seeing interface {
	Flows() ([]Flow, error)
	// FollowDrops calls told with each packet that is dropped until ctx ends.
	FollowDrops(ctx context.Context, told func(Drop) error) error
	Trace(q Question) ([]Step, error)
}

// Flow is one entry of GET /v1/flows.
type Flow struct {
	From     netip.AddrPort `json:"from"` // who began
	To       netip.AddrPort `json:"to"`
	Proto    uint8          `json:"proto"`
	State    string         `json:"state"`
	Idle     int            `json:"idle"` // seconds
	Endpoint string         `json:"endpoint,omitempty"`
}

// Drop is one line of GET /v1/drops.
type Drop struct {
	Place    string         `json:"place"`
	Why      string         `json:"why"`                // at the place "kernel" its own word, as NO_SOCKET
	Rule     string         `json:"rule,omitempty"`     // of policy, where that is why
	Function string         `json:"function,omitempty"` // of the kernel, where it dropped the packet
	Link     string         `json:"link,omitempty"`
	From     netip.AddrPort `json:"from,omitzero"`
	To       netip.AddrPort `json:"to,omitzero"`
	Proto    uint8          `json:"proto"`
	Length   int            `json:"length"` // bytes; Ethernet header included but at the place "kernel"
}

// Question describes a packet for GET /v1/trace.
type Question struct {
	From, To         netip.Addr
	Proto            string // tcp, udp or icmp
	FromPort, ToPort uint16
	Via              string // the uplink it arrives by; empty for one of an endpoint of this host, or for the only uplink
}

// Step is what one program made of a traced packet.
type Step struct {
	Place string `json:"place"`
	Link  string `json:"link"`
	Why   string `json:"why"`
	Fate  string `json:"fate"`
}

func seeing(mux *http.ServeMux, src Seeing) {
	mux.HandleFunc("GET /v1/flows", func(w http.ResponseWriter, _ *http.Request) {
		flows, err := src.Flows()
		answer(w, flows, err)
	})
	mux.HandleFunc("GET /v1/trace", func(w http.ResponseWriter, r *http.Request) {
		q, err := questionOf(r.URL.Query())
		if err != nil {
			refuse(w, http.StatusBadRequest, err)
			return
		}
		steps, err := src.Trace(q)
		answer(w, steps, err)
	})
	mux.HandleFunc("GET /v1/drops", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/x-ndjson")
		flush := http.NewResponseController(w)
		_ = flush.Flush()
		out := json.NewEncoder(w)
		// The answer has begun: a failure can only end it.
		_ = src.FollowDrops(r.Context(), func(d Drop) error {
			if err := out.Encode(d); err != nil {
				return err
			}
			return flush.Flush()
		})
	})
}

func questionOf(v url.Values) (q Question, err error) {
	if q.From, err = netip.ParseAddr(v.Get("from")); err != nil {
		return q, fmt.Errorf("from: %w", err)
	}
	if q.To, err = netip.ParseAddr(v.Get("to")); err != nil {
		return q, fmt.Errorf("to: %w", err)
	}
	for name, into := range map[string]*uint16{"fromPort": &q.FromPort, "toPort": &q.ToPort} {
		n, err := strconv.ParseUint(v.Get(name), 10, 16)
		if err != nil {
			return q, fmt.Errorf("%s: %w", name, err)
		}
		*into = uint16(n)
	}
	q.Proto, q.Via = v.Get("proto"), v.Get("via")
	return q, nil
}

// Flows asks for the flows of the host.
func (c *Client) Flows(ctx context.Context) (f []Flow, err error) {
	return f, c.ask(ctx, http.MethodGet, "/v1/flows", &f)
}

// Trace asks what becomes of a packet.
func (c *Client) Trace(ctx context.Context, q Question) (s []Step, err error) {
	v := url.Values{
		"from": {q.From.String()}, "to": {q.To.String()}, "proto": {q.Proto}, "via": {q.Via},
		"fromPort": {strconv.Itoa(int(q.FromPort))}, "toPort": {strconv.Itoa(int(q.ToPort))},
	}
	return s, c.ask(ctx, http.MethodGet, "/v1/trace?"+v.Encode(), &s)
}

// FollowDrops calls told with each packet that is dropped until ctx ends.
func (c *Client) FollowDrops(ctx context.Context, told func(Drop) error) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://agent/v1/drops", nil)
	if err != nil {
		return err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return fmt.Errorf("ask the agent at %s: %w", c.path, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("the agent at %s answered %s", c.path, resp.Status)
	}
	for in := json.NewDecoder(resp.Body); ; {
		var d Drop
		if err := in.Decode(&d); ctx.Err() != nil {
			return nil
		} else if err != nil {
			return fmt.Errorf("the agent at %s: %w", c.path, err)
		}
		if err := told(d); err != nil {
			return err
		}
	}
}
