package objects

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"strconv"
)

// pageSize is how many objects one answer holds: large enough to be few, small enough that an answer with its text and its
// objects stays in a few megabytes.
const pageSize = 500

// metadataPageSize is the same for metadata alone, which is small.
const metadataPageSize = 5000

// page is one answer of a list.
type page[T any] struct {
	Metadata struct {
		ResourceVersion string `json:"resourceVersion"`
		Continue        string `json:"continue"`
	} `json:"metadata"`
	Items []*T `json:"items"`
}

// List returns all objects and the version of the list, for Watch. It is the whole list or an error: when the API server forgets
// where it was between two pages, the list begins anew.
func (s Collection[T]) List(ctx context.Context) ([]*T, string, error) {
	const attempts = 3
	for attempt := 1; ; attempt++ {
		all, version, err := s.pages(ctx)
		if errors.Is(err, ErrGone) && attempt < attempts {
			continue
		}
		return all, version, err
	}
}

func (s Collection[T]) pages(ctx context.Context) (all []*T, version string, err error) {
	query := cloned(s.query)
	size := pageSize
	if s.resource.partial {
		size = metadataPageSize
	}
	query.Set("limit", strconv.Itoa(size))
	for {
		var p page[T]
		r := request{method: http.MethodGet, path: s.resource.path(s.namespace), query: query, accept: s.resource.acceptList()}
		if err := s.client.do(ctx, r, &p); err != nil {
			return nil, "", err
		}
		for _, o := range p.Items {
			s.stamped(o)
		}
		if version != "" && p.Metadata.ResourceVersion != version {
			return nil, "", fmt.Errorf("list %s: %w: version %s and then %s", s.resource.Plural, ErrGone, version, p.Metadata.ResourceVersion)
		}
		version = p.Metadata.ResourceVersion
		if all == nil {
			all = p.Items
		} else {
			all = append(all, p.Items...)
		}
		if p.Metadata.Continue == "" {
			return all, version, nil
		}
		query.Set("continue", p.Metadata.Continue)
	}
}

// versionNow returns the version the API server is at, by a list of one object.
func (s Collection[T]) versionNow(ctx context.Context) (string, error) {
	query := cloned(s.query)
	query.Set("limit", "1")
	var p page[struct{}]
	err := s.client.do(ctx, request{method: http.MethodGet, path: s.resource.path(s.namespace), query: query, accept: s.resource.acceptList()}, &p)
	return p.Metadata.ResourceVersion, err
}

func cloned(q url.Values) url.Values {
	if q == nil {
		return url.Values{}
	}
	return maps.Clone(q)
}
