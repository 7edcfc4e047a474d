// Package local is the agent's interface for people and tools on the same host: JSON over HTTP on a unix socket that only root may open.
package local

import (
	"net/netip"
	"strings"
	"time"
)

// Socket is the name of the socket in the run folder.
const Socket = "api.sock"

// State of an object.
type State string

// Done, or not yet, or not and nothing but a change will help.
const (
	Done    State = "done"
	Pending State = "pending"
	Failed  State = "failed"
)

// Object is one thing the agent is responsible for, and whether it is done.
type Object struct {
	Kind   string `json:"kind"` // host, config, clock, care, links, routes, neighbours, addresses, peer, uplink, endpoint
	Name   string `json:"name"`
	State  State  `json:"state"`
	Why    string `json:"why,omitempty"`    // why it is not done, in the words of log and metric
	Detail string `json:"detail,omitempty"` // what is done
}

// Status is the answer of GET /v1/status.
type Status struct {
	Host    string    `json:"host"`
	Prefix  string    `json:"prefix,omitempty"`
	Version string    `json:"version"`
	PID     int       `json:"pid"`
	Started time.Time `json:"started"`
	Objects []Object  `json:"objects"`
}

// NotDone returns the objects that are not done.
func (s Status) NotDone() []Object {
	var left []Object
	for _, o := range s.Objects {
		if o.State != Done {
			left = append(left, o)
		}
	}
	return left
}

// Endpoint is one entry of GET /v1/endpoints.
type Endpoint struct {
	Container string       `json:"container"`
	Interface string       `json:"interface"`
	Network   string       `json:"network,omitempty"`
	Namespace string       `json:"namespace,omitempty"`
	Name      string       `json:"name,omitempty"`
	UID       string       `json:"uid,omitempty"`
	Identity  uint32       `json:"identity"`
	Addrs     []netip.Addr `json:"addrs"`
	Link      string       `json:"link"`
	NetNS     string       `json:"netns"`
	State     State        `json:"state"`
	Why       string       `json:"why,omitempty"`
}

// Route is one entry of GET /v1/routes: a route this host should hold.
type Route struct {
	Dst     netip.Prefix `json:"dst"`
	Via     string       `json:"via,omitempty"`
	Link    string       `json:"link,omitempty"`
	Discard bool         `json:"discard,omitempty"`
	For     string       `json:"for"` // what it serves: endpoint, peer or own prefix
	State   State        `json:"state"`
	Why     string       `json:"why,omitempty"`
}

// Problem is the body of every answer that is not 200.
type Problem struct {
	Error string `json:"error"`
}

// OneLine writes joined errors as the Why of an object, which is a cell of a table.
func OneLine(err error) string { return strings.ReplaceAll(err.Error(), "\n", "; ") }
