package objects

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"time"

	"hexapod.dev/api/v1alpha1"
)

// Change is one change of an object.
type Change[T any] struct {
	Object *T
	Gone   bool // it was removed; Object is its last version
}

// watchTime is how long the API server keeps a watch open, at least; then the client takes it up again.
const watchTime = 5 * time.Minute

// Watch calls fn for every change after a version, and returns the last version it heard of, also with an error. ErrGone says that
// changes were lost: List again. A nil error says that the API server ended the watch in good order.
func (s Collection[T]) Watch(ctx context.Context, version string, fn func(Change[T])) (string, error) {
	query := cloned(s.query)
	query.Set("watch", "true")
	query.Set("resourceVersion", version)
	query.Set("allowWatchBookmarks", "true")
	limit := watchTime + rand.N(watchTime) // so that not all clients come back at once
	query.Set("timeoutSeconds", strconv.Itoa(int(limit.Seconds())))
	q, err := s.client.newRequest(ctx, request{method: http.MethodGet, path: s.resource.path(s.namespace), query: query, accept: s.resource.acceptOne()})
	if err != nil {
		return version, err
	}
	answer, err := s.client.watch.Do(q)
	if err != nil {
		return version, fmt.Errorf("watch %s: %w", s.resource.Plural, err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return version, fmt.Errorf("watch %s: %w", s.resource.Plural, statusError(answer))
	}
	for d := json.NewDecoder(answer.Body); ; {
		var e watchEvent
		if err := d.Decode(&e); errors.Is(err, io.EOF) {
			return version, nil
		} else if err != nil {
			return version, fmt.Errorf("watch %s: %w", s.resource.Plural, err)
		}
		if version, err = s.event(e, version, fn); err != nil {
			return version, fmt.Errorf("watch %s: %w", s.resource.Plural, err)
		}
	}
}

// watchEvent is one line of a watch.
type watchEvent struct {
	Type   string          `json:"type"`
	Object json.RawMessage `json:"object"`
}

func (s Collection[T]) event(e watchEvent, version string, fn func(Change[T])) (string, error) {
	switch e.Type {
	case "ERROR":
		refused := &StatusError{}
		if err := json.Unmarshal(e.Object, refused); err != nil {
			return version, fmt.Errorf("an error that is no JSON: %w", err)
		}
		return version, refused
	case "BOOKMARK":
		var b struct {
			Metadata v1alpha1.Metadata `json:"metadata"`
		}
		if err := json.Unmarshal(e.Object, &b); err != nil {
			return version, fmt.Errorf("a bookmark: %w", err)
		}
		return b.Metadata.ResourceVersion, nil
	case "ADDED", "MODIFIED", "DELETED":
		o := new(T)
		if err := json.Unmarshal(e.Object, o); err != nil {
			return version, fmt.Errorf("an object: %w", err)
		}
		s.stamped(o)
		fn(Change[T]{Object: o, Gone: e.Type == "DELETED"})
		return s.resource.head(o).Metadata.ResourceVersion, nil
	}
	return version, fmt.Errorf("the event %q is not known", e.Type)
}
