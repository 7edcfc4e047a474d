package controller

import (
	"context"
	"fmt"
	"hash/fnv"
	"maps"
	"sync"
	"time"

	"hexapod.dev/api/v1alpha1"
	"hexapod.dev/edge/kube/objects"
)

// recorder writes events for people. The same words about the same object are written once in a while only.
type recorder struct {
	events    objects.Collection[objects.Event]
	namespace string // of events of objects that have none

	mu   sync.Mutex
	said map[string]time.Time
}

// repeatEvent is how long the same words are not written again.
const repeatEvent = 10 * time.Minute

func newRecorder(c *objects.Client, namespace string) *recorder {
	return &recorder{events: objects.In(c, objects.Events()), namespace: namespace, said: map[string]time.Time{}}
}

// warn writes an event. It is a courtesy: an event that cannot be written is no reason to do a task again.
func (r *recorder) warn(ctx context.Context, about objects.ObjectReference, why Why, text string) {
	now := time.Now()
	key := fmt.Sprintf("%s/%s/%s/%s/%s", about.Kind, about.Namespace, about.Name, why, text)
	r.mu.Lock()
	last, known := r.said[key]
	fresh := !known || now.Sub(last) > repeatEvent
	if fresh {
		r.said[key] = now
	}
	if fresh { // what is old is forgotten by whoever adds something
		maps.DeleteFunc(r.said, func(_ string, at time.Time) bool { return now.Sub(at) > repeatEvent })
	}
	r.mu.Unlock()
	if !fresh {
		return
	}
	namespace := about.Namespace
	if namespace == "" {
		namespace = "default" // where Kubernetes keeps events of nodes
	}
	hash := fnv.New64a()
	fmt.Fprint(hash, key, now.UnixNano())
	at := v1alpha1.TimeFrom(now)
	e := &objects.Event{
		Header:         v1alpha1.Header{Metadata: v1alpha1.Metadata{Name: v1alpha1.Name(fmt.Sprintf("%.200s.%x", about.Name, hash.Sum64())), Namespace: namespace}},
		InvolvedObject: about, Reason: string(why), Message: objects.EventMessage(text), Type: "Warning", Count: 1, FirstTimestamp: &at, LastTimestamp: &at,
		Source: objects.EventSource{Component: "hexapod-controller"},
	}
	_, _ = r.events.Create(ctx, e) // see above
}

// aboutNode names a node in an event. Kubernetes looks events of a node up by its name instead of a UID.
func aboutNode(name string) objects.ObjectReference {
	return objects.ObjectReference{APIVersion: "v1", Kind: "Node", Name: name, UID: name}
}
