package service

import "slices"

// Board holds the frontends of every service on one host. A change of one service costs what that service costs.
type Board struct {
	services map[Name]Line
	claims   map[Key][]Name // who has the key, the first in order of names really; the others are told so
}

// Line is what became of one service.
type Line struct {
	Frontends []Frontend
	Why       Why // why it has none
}

// Change is what a host must do to follow a change of a service.
type Change struct {
	Ensure []Frontend
	Remove []Key
}

// Put takes in the newest word about a service.
func (b *Board) Put(s Source, p Place) Change {
	if b.services == nil {
		b.services, b.claims = map[Name]Line{}, map[Key][]Name{}
	}
	list, why := For(s, p)
	return b.replace(s.Service.Name, Line{list, why}, true)
}

// Delete takes a service out.
func (b *Board) Delete(n Name) Change { return b.replace(n, Line{}, false) }

func (b *Board) replace(n Name, next Line, keep bool) (c Change) {
	before := b.services[n].Frontends
	if keep {
		b.services[n] = next
	} else {
		delete(b.services, n)
	}
	for i, f := range next.Frontends {
		first := b.claim(f.Key, n)
		if first != n {
			next.Frontends[i].Why = Taken
			continue
		}
		if was, ok := find(before, f.Key); !ok || was.Why == Taken || !same(was, f) {
			c.Ensure = append(c.Ensure, f)
		}
	}
	for _, f := range before {
		if _, still := find(next.Frontends, f.Key); still {
			continue
		}
		heir, changed := b.release(f.Key, n)
		switch {
		case !changed:
		case heir == nil:
			c.Remove = append(c.Remove, f.Key)
		default:
			c.Ensure = append(c.Ensure, *heir)
		}
	}
	return c
}

// claim notes that n wants k and returns who has it. Who had it before and comes after n in order loses it.
func (b *Board) claim(k Key, n Name) Name {
	list := b.claims[k]
	at, known := slices.BinarySearchFunc(list, n, compareNames)
	if !known {
		list = slices.Insert(list, at, n)
		b.claims[k] = list
		if at == 0 && len(list) > 1 {
			b.mark(list[1], k, Taken)
		}
	}
	return list[0]
}

// release notes that n does not want k any more. If n had it, changed is set, and heir is the frontend that has it from now on.
func (b *Board) release(k Key, n Name) (heir *Frontend, changed bool) {
	list := b.claims[k]
	at, known := slices.BinarySearchFunc(list, n, compareNames)
	if !known {
		return nil, false
	}
	list = slices.Delete(list, at, at+1)
	if len(list) == 0 {
		delete(b.claims, k)
		return nil, true
	}
	b.claims[k] = list
	if at > 0 {
		return nil, false
	}
	return b.mark(list[0], k, ""), true
}

// mark writes why the frontend k of n is not served; "" for one that is again. Reasons of its own come back with the next Put.
func (b *Board) mark(n Name, k Key, why Why) *Frontend {
	list := b.services[n].Frontends
	for i := range list {
		if list[i].Key == k {
			list[i].Why = why
			if why == "" && len(list[i].Backends) == 0 {
				list[i].Why = NoneReady
			}
			f := list[i]
			return &f
		}
	}
	return nil
}

// Line returns what became of a service; ok is false when it is not known.
func (b *Board) Line(n Name) (l Line, ok bool) {
	l, ok = b.services[n]
	return l, ok
}

// Names lists the services in order.
func (b *Board) Names() []Name {
	out := make([]Name, 0, len(b.services))
	for n := range b.services {
		out = append(out, n)
	}
	slices.SortFunc(out, compareNames)
	return out
}

// All lists every frontend that is served, in no order.
func (b *Board) All() []Frontend {
	out := make([]Frontend, 0, len(b.claims))
	for _, l := range b.services {
		for _, f := range l.Frontends {
			if f.Why != Taken {
				out = append(out, f)
			}
		}
	}
	return out
}

func find(list []Frontend, k Key) (Frontend, bool) {
	at, ok := slices.BinarySearchFunc(list, k, func(f Frontend, k Key) int { return f.Key.Compare(k) })
	if !ok {
		return Frontend{}, false
	}
	return list[at], true
}

// same reports whether the kernel holds the same for both.
func same(a, b Frontend) bool {
	return a.AffinitySeconds == b.AffinitySeconds && slices.Equal(a.Backends, b.Backends) && slices.Equal(a.Elsewhere, b.Elsewhere)
}
