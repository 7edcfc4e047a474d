package kube

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"hexapod.dev/api/v1alpha1"
	kobjects "hexapod.dev/edge/kube/objects"
)

// refusal is a pod that gets no address, and why.
type refusal struct{ namespace, name, uid, why string }

// Times of events.
const (
	eventEvery = 5 * time.Minute // between two events about one pod
	eventLimit = 5 * time.Second // for one write
)

// reasonNoAddress is the word of events about pods that get no address.
const reasonNoAddress = "NoAddress"

// Refused tells the owner of a pod, by an event, why it gets no address. It never waits: of very many, some are not told.
func (s *Source) Refused(namespace, name, uid, why string) {
	select {
	case s.refused <- refusal{namespace, name, uid, why}:
	default:
	}
}

// tellRefusals writes events until ctx ends.
func (s *Source) tellRefusals(ctx context.Context) error {
	last := map[string]time.Time{}
	for {
		select {
		case <-ctx.Done():
			return nil
		case r := <-s.refused:
			now := time.Now()
			for uid, at := range last {
				if now.Sub(at) > eventEvery {
					delete(last, uid)
				}
			}
			if _, said := last[r.uid]; said {
				continue
			}
			last[r.uid] = now
			if err := s.tellRefusal(ctx, r, now); err != nil && ctx.Err() == nil {
				s.o.Log.Warn("a pod gets no address, and that cannot be told to its owner", "namespace", r.namespace, "name", r.name, "why", r.why, "error", err)
			}
		}
	}
}

func (s *Source) tellRefusal(ctx context.Context, r refusal, now time.Time) error {
	ctx, cancel := context.WithTimeout(ctx, eventLimit)
	defer cancel()
	at := v1alpha1.TimeFrom(now)
	e := &kobjects.Event{
		InvolvedObject: kobjects.ObjectReference{APIVersion: "v1", Kind: "Pod", Namespace: r.namespace, Name: r.name, UID: r.uid},
		Reason:         reasonNoAddress, Type: "Warning", Message: kobjects.EventMessage(r.why), Count: 1,
		FirstTimestamp: &at, LastTimestamp: &at, Source: kobjects.EventSource{Component: "hexapod", Host: s.o.Host},
	}
	e.Metadata.Namespace = r.namespace
	e.Metadata.Name = v1alpha1.Name(fmt.Sprintf("%.200s.%s", r.name, strconv.FormatInt(now.UnixNano(), 36)))
	_, err := kobjects.In(s.o.Client, kobjects.Events()).Namespace(r.namespace).Create(ctx, e)
	return err
}
