package objects

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"time"
)

// kindEvery is how often a kind that is not installed is looked for.
const kindEvery = 5 * time.Second

// FollowKind is Follow for a kind that somebody may have installed or not, by the name of its CustomResourceDefinition. While it is not
// there, sink has an empty list. The definition is asked for and not the objects: an API server that has just started says of
// kinds it has not read yet that they do not exist.
func (s Collection[T]) FollowKind(ctx context.Context, log *slog.Logger, sink Sink[T], definition string) error {
	told, said := false, false
	for ctx.Err() == nil {
		r := request{method: http.MethodGet, path: "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/" + definition,
			accept: jsonType + ";as=PartialObjectMetadata;g=meta.k8s.io;v=v1"}
		err := s.client.do(ctx, r, nil)
		switch {
		case err == nil:
			return s.Follow(ctx, log, sink)
		case errors.Is(err, ErrNotFound) && !told:
			told = true
			sink.Replace(Listing[T]{})
		case !errors.Is(err, ErrNotFound) && !said && ctx.Err() == nil:
			said = true
			log.Warn("cannot ask for a kind, trying again", "kind", definition, "error", err)
		}
		wait(ctx, kindEvery)
	}
	return ctx.Err()
}
