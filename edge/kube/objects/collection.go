package objects

import (
	"context"
	"net/http"
	"net/url"

	"hexapod.dev/api/v1alpha1"
)

// Collection are the objects of one resource on one API server, or those of them that the selectors choose.
type Collection[T any] struct {
	client    *Client
	resource  Resource[T]
	namespace string // "": all
	query     url.Values
}

// In returns the objects of a resource on an API server.
func In[T any](c *Client, r Resource[T]) Collection[T] { return Collection[T]{client: c, resource: r} }

// Namespace returns the objects of one namespace.
func (s Collection[T]) Namespace(name string) Collection[T] {
	s.namespace = name
	return s
}

// Where returns the objects that selectors of the API server choose, in its syntax: spec.nodeName=h1, app=web. Either may be
// empty.
func (s Collection[T]) Where(fields, labels string) Collection[T] {
	s.query = url.Values{}
	if fields != "" {
		s.query.Set("fieldSelector", fields)
	}
	if labels != "" {
		s.query.Set("labelSelector", labels)
	}
	return s
}

// Key names an object: the namespace is empty where the resource has none.
type Key struct{ Namespace, Name string }

// KeyOf returns the key of an object.
func KeyOf(h *v1alpha1.Header) Key { return Key{h.Metadata.Namespace, h.ObjectName()} }

// String returns namespace/name, or the name alone.
func (k Key) String() string {
	if k.Namespace == "" {
		return k.Name
	}
	return k.Namespace + "/" + k.Name
}

// Get reads one object.
func (s Collection[T]) Get(ctx context.Context, name string) (*T, error) {
	return s.answered(ctx, request{method: http.MethodGet, path: s.resource.path(s.namespace, name), accept: s.resource.acceptOne()})
}

// Create makes an object that must not be there yet: else errors.Is(err, ErrExists). It returns what the API server made of it.
func (s Collection[T]) Create(ctx context.Context, o *T) (*T, error) {
	return s.answered(ctx, request{method: http.MethodPost, path: s.resource.path(s.namespaceOf(o)), body: s.stamped(o)})
}

// Update writes an object. With a resource version in it, it must be the one that was read: else errors.Is(err, ErrConflict).
func (s Collection[T]) Update(ctx context.Context, o *T) (*T, error) {
	name := s.resource.head(o).ObjectName()
	return s.answered(ctx, request{method: http.MethodPut, path: s.resource.path(s.namespaceOf(o), name), body: s.stamped(o)})
}

// UpdateStatus writes the status of an object and nothing else of it.
func (s Collection[T]) UpdateStatus(ctx context.Context, o *T) (*T, error) {
	name := s.resource.head(o).ObjectName()
	return s.answered(ctx, request{method: http.MethodPut, path: s.resource.path(s.namespaceOf(o), name, "status"), body: s.stamped(o)})
}

// Patch changes the fields of an object that patch has (RFC 7386): a value marshalled to JSON. subresource is "" or for example
// status. A resource version in the patch is a condition, as in Update.
func (s Collection[T]) Patch(ctx context.Context, name, subresource string, patch any) (*T, error) {
	return s.patch(ctx, name, subresource, "application/merge-patch+json", patch)
}

// PatchLists is Patch where lists of the kinds of Kubernetes itself are merged by their keys: conditions by type, taints by key.
func (s Collection[T]) PatchLists(ctx context.Context, name, subresource string, patch any) (*T, error) {
	return s.patch(ctx, name, subresource, "application/strategic-merge-patch+json", patch)
}

func (s Collection[T]) patch(ctx context.Context, name, subresource, form string, patch any) (*T, error) {
	words := []string{name}
	if subresource != "" {
		words = append(words, subresource)
	}
	return s.answered(ctx, request{method: http.MethodPatch, path: s.resource.path(s.namespace, words...), contentType: form, body: patch})
}

// Only are conditions of a Delete: the object must still be the one that was read. Empty ones are no condition.
type Only struct {
	UID             string `json:"uid,omitempty"`
	ResourceVersion string `json:"resourceVersion,omitempty"`
}

// Delete removes an object.
func (s Collection[T]) Delete(ctx context.Context, name string, only Only) error {
	r := request{method: http.MethodDelete, path: s.resource.path(s.namespace, name)}
	if only != (Only{}) {
		r.body = map[string]any{"kind": "DeleteOptions", "apiVersion": "v1", "preconditions": only}
	}
	return s.client.do(ctx, r, nil)
}

func (s Collection[T]) answered(ctx context.Context, r request) (*T, error) {
	o := new(T)
	if err := s.client.do(ctx, r, o); err != nil {
		return nil, err
	}
	s.stamped(o)
	return o, nil
}

// stamped writes kind and version into an object: items of lists come without them, and are refused without them.
func (s Collection[T]) stamped(o *T) *T {
	h := s.resource.head(o)
	h.APIVersion, h.Kind = s.resource.APIVersion, s.resource.Kind
	return o
}

func (s Collection[T]) namespaceOf(o *T) string {
	if ns := s.resource.head(o).Metadata.Namespace; ns != "" {
		return ns
	}
	return s.namespace
}
