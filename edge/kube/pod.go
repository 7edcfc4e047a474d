package kube

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/api/resource"

	"hexapod.dev/edge/file/whole"
	kobjects "hexapod.dev/edge/kube/objects"
	"hexapod.dev/model/desired"
)

// Annotations of pods that mean something here.
const (
	// IngressBandwidth and EgressBandwidth bound what a pod receives and sends, in bits a second: 10M.
	IngressBandwidth = "kubernetes.io/ingress-bandwidth"
	EgressBandwidth  = "kubernetes.io/egress-bandwidth"
	// ServiceTranslation says where a pod's calls to services are translated. ServicePacket: not at its sockets. That is for pods
	// that redirect their own traffic to a proxy, which has to see the service's address, and for virtual machines.
	ServiceTranslation = "hexapod.dev/service-translation"
	ServicePacket      = "packet"
	// Synthesis says whether names that have IPv4 alone get IPv6 addresses for a pod. SynthesisOff: it has IPv4 by a way that nobody else
	// knows of. SynthesisOn: it has an IPv4 address and wants them all the same.
	Synthesis    = "hexapod.dev/dns64"
	SynthesisOff = "off"
	SynthesisOn  = "on"
	// mirror is the UID that a runtime knows a static pod by; its object in the API has another one.
	mirror = "kubernetes.io/config.mirror"
)

// Pod is what the agent of a host has to know of one of its pods.
type Pod struct {
	Namespace string                   `json:"namespace"`
	Name      string                   `json:"name"`
	UID       string                   `json:"uid"`
	Mirror    string                   `json:"mirror,omitempty"`
	Labels    map[string]string        `json:"labels,omitempty"`
	Bandwidth desired.Bandwidth        `json:"bandwidth,omitzero"`
	Ports     []kobjects.ContainerPort `json:"ports,omitempty"`
	Packets   bool                     `json:"packets,omitempty"`   // services are none of its sockets' business: packets are translated, if at all
	Synthesis string                   `json:"synthesis,omitempty"` // as the annotation has it
}

func podOf(o *kobjects.Pod) Pod {
	m := o.Metadata
	return Pod{Namespace: m.Namespace, Name: string(m.Name), UID: m.UID, Mirror: m.Annotations[mirror], Labels: m.Labels,
		Bandwidth: desired.Bandwidth{Ingress: rate(m.Annotations[IngressBandwidth]), Egress: rate(m.Annotations[EgressBandwidth])},
		Ports:     telling(o.Ports()), Packets: m.Annotations[ServiceTranslation] == ServicePacket,
		Synthesis: m.Annotations[Synthesis]}
}

// telling are the ports that say more than that a container listens: those with a name, and those that the host leads to.
func telling(all []kobjects.ContainerPort) []kobjects.ContainerPort {
	return slices.DeleteFunc(all, func(p kobjects.ContainerPort) bool { return p.Name == "" && p.HostPort == 0 })
}

// ownPods lists the pods of this host as they are known: from the watch, else from the record on disk. Those that have ended are not
// among them.
func (s *Source) ownPods() (all []Pod) {
	if s.pods.Listed() {
		for _, o := range s.pods.All() {
			if !o.Spec.HostNetwork && o.Status.Phase != "Succeeded" && o.Status.Phase != "Failed" {
				all = append(all, podOf(o))
			}
		}
		return all
	}
	s.recorded.Do(s.readRecord)
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.record {
		all = append(all, p)
	}
	return all
}

// is tells whether a runtime that says uid means p; one that says none means it.
func (p Pod) is(uid string) bool { return uid == "" || uid == p.UID || uid == p.Mirror }

// Bounds of a rate in bits a second, the same as the kubelet's (pkg/util/bandwidth).
const (
	minRate = 1_000
	maxRate = 1_000_000_000_000_000
)

// rate reads a quantity; one that is none, or out of bounds, bounds nothing: the kubelet has told the pod's owner so.
func rate(text string) desired.Rate {
	if text == "" {
		return desired.Rate{}
	}
	q, err := resource.ParseQuantity(text)
	if err != nil || q.Value() < minRate || q.Value() > maxRate {
		return desired.Rate{}
	}
	return desired.Rate{Bits: uint64(q.Value())}
}

// Pod tells of a pod of this host: as the watch has told, else as the API server answers now, else as the record on disk has it. A
// context that has ended asks nobody.
func (s *Source) Pod(ctx context.Context, namespace, name, uid string) (Pod, bool) {
	key := kobjects.Key{Namespace: namespace, Name: name}
	if o, ok := s.pods.Get(key); ok {
		if p := podOf(o); p.is(uid) {
			return p, true
		}
	}
	if ctx.Err() == nil {
		o, err := kobjects.In(s.o.Client, kobjects.Pods()).Namespace(namespace).Get(ctx, name)
		switch {
		case err == nil:
			if p := podOf(o); p.is(uid) {
				return p, true
			}
			return Pod{}, false
		case errors.Is(err, kobjects.ErrNotFound):
			return Pod{}, false
		}
	}
	s.recorded.Do(s.readRecord)
	s.mu.Lock()
	defer s.mu.Unlock()
	p, ok := s.record[key]
	return p, ok && p.is(uid)
}

// recordEvery is the least time between two writes of the record of pods.
const recordEvery = time.Second

// followPods calls changed and keeps the record when pods of this host change, until ctx ends.
func (s *Source) followPods(ctx context.Context, changed func()) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-s.pods.Changed():
		}
		if s.pods.Listed() {
			s.writeRecord()
			changed()
			kick(s.policies.news)
		}
		if !pause(ctx, recordEvery) {
			return nil
		}
	}
}

func (s *Source) recordPath() string { return filepath.Join(s.o.Dir, "pods.json") }

// writeRecord writes down every pod of this host.
func (s *Source) writeRecord() {
	record := map[kobjects.Key]Pod{}
	var list []Pod
	for k, o := range s.pods.All() {
		record[k] = podOf(o)
		list = append(list, record[k])
	}
	s.recorded.Do(func() {}) // what is on the disk is older
	s.mu.Lock()
	s.record = record
	s.mu.Unlock()
	data, err := json.Marshal(list)
	if err == nil {
		err = errors.Join(os.MkdirAll(filepath.Dir(s.recordPath()), 0o700), whole.Write(s.recordPath(), data, 0o600))
	}
	if err != nil {
		s.o.Log.Warn("the pods of this host are not kept on the disk", "error", err)
	}
}

// readRecord reads what was known of pods when the last agent of this host ended.
func (s *Source) readRecord() {
	data, err := os.ReadFile(s.recordPath())
	var list []Pod
	if err == nil {
		err = json.Unmarshal(data, &list)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		s.o.Log.Warn("the record of pods cannot be read", "file", s.recordPath(), "error", err)
	}
	record := map[kobjects.Key]Pod{}
	for _, p := range list {
		record[kobjects.Key{Namespace: p.Namespace, Name: p.Name}] = p
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.record = record
}
