package local

import (
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"

	"hexapod.dev/model/transport"
)

// Policing is a Source that judges the flows of endpoints by policies.
type Policing interface {
	ExplainPolicy(q PolicyQuestion) (PolicyAnswer, error)
	ShowPolicy(endpoint string) (PolicyTables, error)
}

// PolicyQuestion asks about a flow. Ends are addresses or names of endpoints.
type PolicyQuestion struct {
	From, To string
	Protocol transport.Protocol
	Port     uint16
}

// PolicyAnswer is the answer of GET /v1/policy/explain.
type PolicyAnswer struct {
	From     PolicyParty     `json:"from"`
	To       PolicyParty     `json:"to"`
	Protocol string          `json:"protocol"`
	Port     uint16          `json:"port"`
	Accepted bool            `json:"accepted"` // by each end that is an endpoint of this host
	Verdicts []PolicyVerdict `json:"verdicts"`
}

// PolicyParty is one end of a flow.
type PolicyParty struct {
	Address  netip.Addr `json:"address"`
	Identity uint32     `json:"identity"`
	By       string     `json:"by"`            // what proves it
	Set      string     `json:"set,omitempty"` // namespace and labels
}

// PolicyVerdict is what one end says.
type PolicyVerdict struct {
	Endpoint  netip.Addr `json:"endpoint"`
	Direction string     `json:"direction"`
	Action    string     `json:"action"`
	Rule      string     `json:"rule"`              // policy and rule, or an implicit reason
	Written   string     `json:"written,omitempty"` // file:line of the policy
	Kernel    string     `json:"kernel"`            // whether the maps say the same
}

// What the maps may say.
const (
	PolicyAgrees    = "agrees"
	PolicyNotLoaded = "not loaded"
)

// PolicyTables is the answer of GET /v1/policy/show.
type PolicyTables struct {
	Endpoint string      `json:"endpoint"`
	Party    PolicyParty `json:"party"`
	Rows     []PolicyRow `json:"rows"`
}

// PolicyRow is one rule of a table, in the order in which rules are asked.
type PolicyRow struct {
	Direction string `json:"direction"`
	Row       int    `json:"row"`
	Action    string `json:"action"`
	Peers     string `json:"peers"`
	Ports     string `json:"ports"`
	Rule      string `json:"rule"`
	Written   string `json:"written,omitempty"`
}

func policing(mux *http.ServeMux, src Policing) {
	mux.HandleFunc("GET /v1/policy/explain", func(w http.ResponseWriter, r *http.Request) {
		q, err := policyQuestionOf(r.URL.Query())
		if err != nil {
			refuse(w, http.StatusBadRequest, err)
			return
		}
		found, err := src.ExplainPolicy(q)
		answer(w, found, err)
	})
	mux.HandleFunc("GET /v1/policy/show", func(w http.ResponseWriter, r *http.Request) {
		found, err := src.ShowPolicy(r.URL.Query().Get("endpoint"))
		answer(w, found, err)
	})
}

func policyQuestionOf(v url.Values) (q PolicyQuestion, err error) {
	q.From, q.To = v.Get("from"), v.Get("to")
	if q.Protocol, err = ParseProtocol(v.Get("protocol")); err != nil {
		return q, err
	}
	port, err := strconv.ParseUint(v.Get("port"), 10, 16)
	if err != nil {
		return q, fmt.Errorf("port: want 0 to 65535")
	}
	q.Port = uint16(port)
	return q, nil
}

// ParseProtocol reads tcp, udp, sctp or icmp.
func ParseProtocol(s string) (transport.Protocol, error) {
	switch strings.ToLower(s) {
	case "tcp":
		return transport.TCP, nil
	case "udp":
		return transport.UDP, nil
	case "sctp":
		return transport.SCTP, nil
	case "icmp":
		return transport.ICMP, nil
	}
	return 0, fmt.Errorf("protocol %q: want tcp, udp, sctp or icmp", s)
}

// ExplainPolicy asks what becomes of a flow, and by which rule.
func (c *Client) ExplainPolicy(ctx context.Context, q PolicyQuestion) (a PolicyAnswer, err error) {
	v := url.Values{"from": {q.From}, "to": {q.To}, "protocol": {strings.ToLower(q.Protocol.String())}, "port": {strconv.Itoa(int(q.Port))}}
	return a, c.ask(ctx, http.MethodGet, "/v1/policy/explain?"+v.Encode(), &a)
}

// ShowPolicy asks for the tables of an endpoint.
func (c *Client) ShowPolicy(ctx context.Context, endpoint string) (t PolicyTables, err error) {
	return t, c.ask(ctx, http.MethodGet, "/v1/policy/show?"+url.Values{"endpoint": {endpoint}}.Encode(), &t)
}
