package local

import (
	"context"
	"net/http"
	"net/netip"

	"hexapod.dev/model/transport"
)

// Serving is a Source that leads clients to services.
type Serving interface {
	Services() []Service
}

// Service is one address and port of a service, or a service that has none to serve.
type Service struct {
	Name      string             `json:"name"`
	Address   netip.Addr         `json:"address,omitzero"`
	Port      uint16             `json:"port,omitempty"`
	Protocol  transport.Protocol `json:"protocol,omitempty"`
	PortName  string             `json:"portName,omitempty"`
	Backends  []netip.AddrPort   `json:"backends,omitempty"`
	Affinity  uint32             `json:"affinitySeconds,omitempty"`
	TableSize int                `json:"tableSize,omitempty"`
	State     State              `json:"state"`
	Why       string             `json:"why,omitempty"`
}

func serving(mux *http.ServeMux, src Serving) {
	mux.HandleFunc("GET /v1/services", func(w http.ResponseWriter, _ *http.Request) { answer(w, src.Services(), nil) })
}

// Services asks for the services that clients on this host are led to.
func (c *Client) Services(ctx context.Context) (s []Service, err error) {
	return s, c.ask(ctx, http.MethodGet, "/v1/services", &s)
}
