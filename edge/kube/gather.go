package kube

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"hexapod.dev/api/v1alpha1"
	"hexapod.dev/edge/file/whole"
	kobjects "hexapod.dev/edge/kube/objects"
	"hexapod.dev/edge/objects"
)

// document is any object that a user can write.
type document[T any] interface {
	*T
	v1alpha1.Object
}

// all lists what the stores hold.
func (s *Source) all() []v1alpha1.Object {
	out := make([]v1alpha1.Object, 0, s.hosts.Len()+s.identities.Len()+8)
	for _, p := range s.plans.All() {
		plan := *p
		plan.Spec.IPv4 = nil // the controller cuts it up: a host reads its own range in its Host
		out = append(out, &plan)
	}
	out = appendAll(out, s.hosts)
	out = appendAll(out, s.pools)
	out = appendAll(out, s.identities)
	out = appendAll(out, s.addresses)
	out = appendAll(out, s.slices)
	out = appendAll(out, s.peers)
	return appendAll(out, s.nat64)
}

func appendAll[T any, P document[T]](out []v1alpha1.Object, from *kobjects.Store[T]) []v1alpha1.Object {
	for _, o := range from.All() {
		out = append(out, P(o))
	}
	return out
}

// set makes the configuration of what the stores hold.
func (s *Source) set() (objects.Set, error) {
	set, left, err := usable(s.all(), s.o.Secrets, s.o.Host)
	s.mu.Lock()
	news := left != s.left
	s.left = left
	s.mu.Unlock()
	if news && left != "" {
		s.o.Log.Warn("objects that are wrong are left out", "problems", left)
	}
	return set, err
}

// usable makes the configuration of objects, less those that are wrong: in a cluster many people write them, and the mistake of one
// must not stop the others. Whose fault it is, the controller tells in the object's status. Every host leaves out the same ones, but for
// what a host alone lacks a key for.
func usable(all []v1alpha1.Object, secrets, host string) (_ objects.Set, left string, err error) {
	wrong := map[[2]string]bool{}
	var told v1alpha1.Problems
	all = cleaned(all, func(o v1alpha1.Object) v1alpha1.Problems { return v1alpha1.Validate(o).Errors() }, &told)
	for {
		set, problems := objects.Checked(all, secrets, host, v1alpha1.Error)
		problems = problems.Errors()
		if len(problems) == 0 {
			set.Warnings = nil // the controller's to tell
			return set, words(told), nil
		}
		before := len(wrong)
		for _, p := range problems {
			if p.Kind != v1alpha1.KindAddressPlan && p.Name != "" {
				wrong[[2]string{p.Kind, p.Name}] = true
			}
		}
		if len(wrong) == before {
			return objects.Set{}, words(told), problems
		}
		told = append(told, problems...)
		all = cleaned(all, func(o v1alpha1.Object) v1alpha1.Problems {
			if wrong[[2]string{o.Head().Kind, o.ObjectName()}] {
				return problems
			}
			return nil
		}, nil)
	}
}

// cleaned is the objects that judge finds nothing wrong with. What it finds is added to told, if that is not nil.
func cleaned(all []v1alpha1.Object, judge func(v1alpha1.Object) v1alpha1.Problems, told *v1alpha1.Problems) []v1alpha1.Object {
	var good []v1alpha1.Object
	for _, o := range all {
		found := judge(o)
		if len(found) == 0 {
			good = append(good, o)
		} else if told != nil {
			*told = append(*told, found...)
		}
	}
	return good
}

func words(p v1alpha1.Problems) string {
	if len(p) == 0 {
		return ""
	}
	return p.Sort().Error()
}

// keep writes what is known to the disk, and reports whether it is there.
func (s *Source) keep() bool {
	if !s.listed() {
		return false
	}
	data, err := json.Marshal(v1alpha1.Group(s.all()))
	if err == nil {
		err = errors.Join(os.MkdirAll(filepath.Dir(s.configPath()), 0o700), whole.Write(s.configPath(), data, 0o600))
	}
	if err != nil {
		s.o.Log.Warn("the configuration of the cluster is not kept on the disk", "error", err)
	}
	return err == nil
}

// kept reads what was known last.
func (s *Source) kept() (objects.Set, error) {
	data, err := os.ReadFile(s.configPath())
	if errors.Is(err, os.ErrNotExist) {
		return objects.Set{}, fmt.Errorf("%w, and nothing is kept on this host from before", errNotListed)
	}
	if err != nil {
		return objects.Set{}, fmt.Errorf("read what is kept of the cluster: %w", err)
	}
	var known v1alpha1.Set
	if err := json.Unmarshal(data, &known); err != nil {
		return objects.Set{}, fmt.Errorf("read what is kept of the cluster in %s: %w", s.configPath(), err)
	}
	set, _, err := usable(known.Objects(), s.o.Secrets, s.o.Host)
	if err == nil {
		s.o.Log.Warn("the API server does not answer: going on with what this host knew last", "server", s.o.Client.Server())
	}
	return set, err
}
