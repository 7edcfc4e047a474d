package agent

import (
	"context"

	"hexapod.dev/edge/file"
	"hexapod.dev/edge/objects"
)

// Source is where the configuration comes from: a folder of YAML, or the API of a cluster.
type Source interface {
	// Name is what status and log call it.
	Name() string
	// Load returns the configuration as it is now. One that is wrong is an error.
	Load(ctx context.Context) (objects.Set, error)
	// Watch tells every configuration that is right, or an error, until ctx ends; then it returns nil.
	Watch(ctx context.Context, tell func(objects.Set, error)) error
}

// Folder is the source that reads a folder of YAML.
type Folder string

// Name implements Source.
func (f Folder) Name() string { return string(f) }

// Load implements Source.
func (f Folder) Load(context.Context) (objects.Set, error) {
	s, err := file.Load(string(f))
	return s.Set, err
}

// Watch implements Source.
func (f Folder) Watch(ctx context.Context, tell func(objects.Set, error)) error {
	return file.Watch(ctx, string(f), func(s file.Set, err error) { tell(s.Set, err) })
}
