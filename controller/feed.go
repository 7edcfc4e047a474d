package controller

import (
	"context"
	"log/slog"

	"hexapod.dev/edge/kube/objects"
)

// feed follows one resource into a store, and tells of every object that changed.
type feed[T any] struct {
	resource   objects.Resource[T]
	collection objects.Collection[T]
	store      *objects.Store[T]
	changed    func(o *T, gone bool)
	replaced   func(l objects.Listing[T])
}

func newFeed[T any](c *objects.Client, r objects.Resource[T]) *feed[T] {
	return &feed[T]{resource: r, collection: objects.In(c, r), store: objects.NewStore(r)}
}

// Replace is called by Follow.
func (f *feed[T]) Replace(l objects.Listing[T]) {
	f.store.Replace(l)
	if f.replaced != nil {
		f.replaced(l)
	}
}

// Apply is called by Follow.
func (f *feed[T]) Apply(c objects.Change[T]) {
	f.store.Apply(c)
	if f.changed != nil {
		f.changed(c.Object, c.Gone)
	}
}

func (f *feed[T]) run(ctx context.Context, log *slog.Logger) error {
	return f.collection.Follow(ctx, log, f)
}

// get returns an object of a kind that has the scope of the cluster.
func (f *feed[T]) get(name string) (*T, bool) { return f.store.Get(objects.Key{Name: name}) }
