// Package cni answers the CNI plugin of this host: it speaks the Container Network Interface to a runtime and asks a Backend to do the work.
//
// The plugin (cmd/hexapod-cni) is a thin courier. It hands one request line over a unix socket to Server, which checks it against the
// specification, calls the Backend with plain values, and writes the answer a runtime expects: results of CNI 0.4.0, 1.0.0 and 1.1.0,
// chained results merged, errors with the codes of the specification.
package cni

import (
	"context"
	"net/netip"

	"hexapod.dev/model/desired"
)

// Backend attaches endpoints. It is called from many goroutines, also for one key at a time from several; GC runs while nothing else does.
//
// An error may carry its CNI code (see Errorf); any other error is answered with CodeFailed, and a cancelled or expired context with
// CodeTryAgain. The context ends when the caller went away (Add, Check, Status) or the server has to stop.
type Backend interface {
	// Add connects one interface of one endpoint. The same key again gives the same attachment, also after a crash half way.
	Add(ctx context.Context, r Request) (Attachment, error)
	// Del disconnects it. Whatever is missing already (the endpoint, its namespace, the link) is no error. Only Key, NetNS, Network and
	// the pod's names are set.
	Del(ctx context.Context, r Request) error
	// Check looks at the endpoint as it is now: allocation, link, routes. It returns what Add returned, or an error that names what is
	// missing. The server compares it with what the runtime remembers.
	Check(ctx context.Context, r Request) (Attachment, error)
	// GC disconnects every attachment of this network that is not in valid, as far as possible, and joins the errors. Attachments of
	// other networks stay: valid lists one network only (CNI 1.1 section 2, GC).
	GC(ctx context.Context, network string, valid []desired.EndpointKey) error
	// Status returns nil when Add can be served. An error that carries CodeLimited says that living endpoints suffer too; any other
	// error becomes CodeNotAvailable.
	Status(ctx context.Context) error
}

// Request is one ADD, DEL or CHECK, checked against the specification.
type Request struct {
	Key     desired.EndpointKey
	Network string // name of the network configuration
	NetNS   string // path of the endpoint's network namespace; may be empty or gone at Del

	// Who the endpoint is: CNI_ARGS K8S_POD_NAMESPACE, K8S_POD_NAME, K8S_POD_UID. Empty outside Kubernetes.
	Namespace, Name, UID string

	Labels map[string]string // args.cni.labels
	Fixed  []netip.Addr      // addresses asked for: args.cni.ips, else runtimeConfig.ips, else CNI_ARGS IP
}

// Attachment is what an endpoint got.
type Attachment struct {
	HostName string      // host side of the veth pair
	HostMAC  desired.MAC // host side
	Name     string      // interface inside the endpoint
	MAC      desired.MAC // inside the endpoint
	NetNS    string      // path as the runtime gave it

	Addrs   []netip.Addr // each a /128, or a /32 behind the first
	Gateway netip.Addr   // link-local address of the host side, fe80::1
	MTU     int          // bytes; 0: not told
}
