package kube

import "hexapod.dev/model/desired"

// Pod is what the agent of a host has to know of one of its pods.
type Pod struct {
	Namespace string            `json:"namespace"`
	Name      string            `json:"name"`
	UID       string            `json:"uid"`
	Labels    map[string]string `json:"labels,omitempty"`
	Bandwidth desired.Bandwidth `json:"bandwidth,omitzero"`
}
