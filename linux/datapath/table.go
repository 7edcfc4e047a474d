package datapath

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"sync"

	"github.com/cilium/ebpf"

	"hexapod.dev/linux/datapath/pin"
	"hexapod.dev/linux/netns"
	"hexapod.dev/linux/rtnl"
	"hexapod.dev/model/datapath"
	"hexapod.dev/model/desired"
	"hexapod.dev/model/diff"
)

// Table is the datapath of one host: its programs, what hangs on links, and what the programs know.
type Table struct {
	ns     *netns.NS
	folder *pin.Folder
	conn   *rtnl.Conn
	stubs  map[string]*ebpf.Program  // by name
	ids    map[string]ebpf.ProgramID // of the stubs, by which the kernel tells what hangs on a link
	maps   *Maps
	loaded *ebpf.Collection
	guard  *guard

	mu   sync.Mutex
	hung map[int]bool // links that programs should hang on, by index
}

// Options are where a datapath lives.
type Options struct {
	NS   *netns.NS // nil: the namespace of the process
	Root string    // a BPF file system; empty: pin.DefaultRoot
	Run  string    // folder of the agent, for a file system of its own where root is none

	release release
}

// release is what one release has other than another. Tests of upgrades set it.
type release struct {
	layout int                        // 0: pin.Layout
	change func(*ebpf.CollectionSpec) // of programs before they are loaded; nil: none
}

// open opens the folder of pinned maps in the layout of the release.
func (r release) open(root, run string) (*pin.Folder, error) {
	if r.layout == 0 {
		return pin.Open(root, run)
	}
	return pin.OpenLayout(root, run, r.layout)
}

// of returns the programs as the release has them.
func (r release) of(load func() (*ebpf.CollectionSpec, error)) (*ebpf.CollectionSpec, error) {
	spec, err := load()
	if err == nil && r.change != nil {
		r.change(spec)
	}
	return spec, err
}

// Open loads the programs of this release, takes over what is pinned, and puts the programs into the slot: from then on they
// judge on every link that has a stub. What is pinned and what hangs on links stays after Close.
func Open(o Options) (_ *Table, err error) {
	t := &Table{ns: o.NS}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("open the datapath: %w", err), t.Close())
		}
	}()
	root := o.Root
	if root == "" {
		root = pin.DefaultRoot
	}
	if t.folder, err = o.release.open(root, o.Run); err != nil {
		return nil, err
	}
	if t.conn, err = rtnl.Dial(o.NS); err != nil {
		return nil, err
	}
	t.guard = &guard{ns: o.NS}
	if err := t.loadStubs(o.release); err != nil {
		return nil, err
	}
	if err := t.loadGeneration(o.release); err != nil {
		return nil, err
	}
	return t, t.folder.Forget()
}

// loadStubs takes over the pinned stubs, or pins those of this release where they are other programs.
func (t *Table) loadStubs(r release) error {
	spec, err := r.of(loadStub)
	if err != nil {
		return err
	}
	c, err := t.folder.Load(spec, pin.Options{})
	if err != nil {
		return err
	}
	defer c.Close()
	t.stubs, t.ids = map[string]*ebpf.Program{}, map[string]ebpf.ProgramID{}
	for name, fresh := range c.Programs {
		if t.stubs[name], err = t.keepStub(name, fresh); err != nil {
			return err
		}
		info, err := t.stubs[name].Info()
		if err != nil {
			return fmt.Errorf("look at the stub %s: %w", name, err)
		}
		t.ids[name], _ = info.ID()
	}
	return nil
}

// keepStub returns the stub that is pinned under a name, after it has pinned fresh there if that is another program.
func (t *Table) keepStub(name string, fresh *ebpf.Program) (*ebpf.Program, error) {
	pinned, err := t.folder.Program(name)
	if err == nil && sameProgram(pinned, fresh) {
		return pinned, nil
	}
	if err == nil {
		pinned.Close()
	}
	if err := t.folder.PinProgram(name, fresh); err != nil {
		return nil, err
	}
	return fresh.Clone()
}

// sameProgram compares by the tag, a hash of the instructions without map descriptors.
func sameProgram(a, b *ebpf.Program) bool {
	ia, errA := a.Info()
	ib, errB := b.Info()
	return errA == nil && errB == nil && ia.Tag == ib.Tag
}

// loadGeneration loads the programs of this release over the pinned maps and switches the slot to them.
func (t *Table) loadGeneration(r release) error {
	spec, err := r.of(loadJudge)
	if err != nil {
		return err
	}
	for table, mask := range map[string]string{"flows": "flow_mask", "service_flows": "service_flow_mask"} {
		rows, err := t.folder.Map(spec.Maps[table], nil)
		if err != nil {
			return err
		}
		err = errors.Join(spec.Variables[mask].Set(rows.MaxEntries()-1), rows.Close())
		if err != nil {
			return err
		}
	}
	if t.loaded, err = t.folder.Load(spec, pin.Options{}); err != nil {
		return err
	}
	t.maps = &Maps{byName: t.loaded.Maps}
	if err := t.maps.seed(); err != nil {
		return err
	}
	if err := t.loaded.Maps["slot"].Put(uint32(0), t.loaded.Programs["judge"]); err != nil {
		return fmt.Errorf("switch to the programs of this release: %w", err)
	}
	return nil
}

// seed gives the flow table its secret, once in the life of the pinned maps.
func (m *Maps) seed() error {
	s, err := m.settings()
	if err != nil || s.Seed != 0 {
		return err
	}
	var b [8]byte
	if _, err := rand.Read(b[:]); err != nil {
		return err
	}
	s.Seed, s.Generation = binary.NativeEndian.Uint64(b[:])|1, 1
	return m.byName["settings"].Put(uint32(0), s)
}

// Close closes what this process has open. Everything goes on.
func (t *Table) Close() error {
	var errs []error
	for _, p := range t.stubs {
		errs = append(errs, p.Close())
	}
	if t.loaded != nil {
		t.loaded.Close()
	}
	if t.conn != nil {
		errs = append(errs, t.conn.Close())
	}
	return errors.Join(errs...)
}

// Layout is the version of the pinned maps.
func (t *Table) Layout() int { return pin.Layout }

// HangsOn tells whether programs should hang on the link with this index: its qdisc or filter is ours to repair.
func (t *Table) HangsOn(index int) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.hung[index]
}

func (t *Table) setHung(index int, hangs bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.hung == nil {
		t.hung = map[int]bool{}
	}
	if hangs {
		t.hung[index] = true
	} else {
		delete(t.hung, index)
	}
}

// Maps is what the programs know.
func (t *Table) Maps() *Maps { return t.maps }

// Parts are the messages that hang the stubs on an endpoint's link while it is made: they go out in the send that sets it up, so
// nothing passes without them. index, if not nil, is told the link's index.
func (t *Table) Parts(link string, index *int) []rtnl.Part {
	return []rtnl.Part{
		{Request: func(i int) *rtnl.Request {
			if index != nil {
				*index = i
			}
			return rtnl.AddClsact(i, link)
		}},
		{Request: func(i int) *rtnl.Request { return t.hang(i, link, rtnl.Ingress) }},
		{Request: func(i int) *rtnl.Request { return t.hang(i, link, rtnl.Egress) }},
	}
}

// Names of the stubs (bpf/stub.c).
const (
	stubFromEndpoint = "stub_from_endpoint"
	stubFromUplink   = "stub_from_uplink"
	stubToEndpoint   = "stub_to_endpoint"
)

func (t *Table) hang(index int, link string, d rtnl.Direction) *rtnl.Request {
	name := stubOf(d)
	return rtnl.SetFilter(index, link, d, t.stubs[name].FD(), name)
}

// stubOf names the stub on a side of an endpoint's link.
func stubOf(d rtnl.Direction) string {
	if d == rtnl.Egress {
		return stubToEndpoint
	}
	return stubFromEndpoint
}

// EnsureEndpoint tells the programs of an endpoint whose link has the index. kin are the other endpoints of the same container: each
// may send from the addresses of the others.
func (t *Table) EnsureEndpoint(index int, e desired.Endpoint, kin []desired.Endpoint) error {
	t.setHung(index, true)
	self := valueOf(uint32(index), e)
	var errs []error
	for _, a := range e.Addrs {
		errs = append(errs, t.maps.PutEndpoint(a, self))
	}
	for _, other := range kin {
		errs = append(errs, t.ensureKin(self, e, other))
	}
	return errors.Join(errs...)
}

func valueOf(index uint32, e desired.Endpoint) datapath.Endpoint {
	w := datapath.WantEndpointFor(e)
	return datapath.Endpoint{Link: index, MAC: w.MAC, HostMAC: w.HostMAC, Identity: w.Identity}
}

// ensureKin lets two endpoints of a container send from each other's addresses.
func (t *Table) ensureKin(self datapath.Endpoint, e, other desired.Endpoint) error {
	var errs []error
	for _, a := range other.Addrs {
		have, ok := t.maps.endpoint(a)
		if !ok {
			continue // it is not there yet, and will find e
		}
		by := self
		by.Identity = other.Identity
		errs = append(errs, t.maps.PutKin(datapath.Kin{Addr: a, Link: self.Link}, by))
		for _, mine := range e.Addrs {
			by := valueOf(have.Link, other)
			by.Identity = e.Identity
			errs = append(errs, t.maps.PutKin(datapath.Kin{Addr: mine, Link: have.Link}, by))
		}
	}
	return errors.Join(errs...)
}

// RemoveEndpoint makes the programs forget an endpoint: nothing from or to it passes any more.
func (t *Table) RemoveEndpoint(e desired.Endpoint) error {
	var errs []error
	for _, a := range e.Addrs {
		if have, ok := t.maps.endpoint(a); ok {
			t.setHung(int(have.Link), false) // its link goes: no news
		}
		errs = append(errs, t.maps.RemoveEndpoint(a))
	}
	return errors.Join(errs...)
}

// EnsureInside tells the programs of one prefix that lies inside. The guard's rules are not looked at: Guards tells whether they would change.
func (t *Table) EnsureInside(p netip.Prefix, in datapath.WantInside) error {
	index := 0
	if in.Link != "" {
		l, there, err := t.conn.Link(in.Link)
		if err == nil && !there {
			err = fmt.Errorf("link %s does not exist", in.Link)
		}
		if err != nil {
			return fmt.Errorf("inside %s: %w", p, err)
		}
		index = l.Index
	}
	return t.maps.PutInside(p, datapath.Inside{Flags: in.Flags, Link: uint32(index), MAC: in.MAC})
}

// RemoveInside makes the programs forget one prefix.
func (t *Table) RemoveInside(p netip.Prefix) error {
	return t.maps.remove("inside", keyOf(p), "prefix "+p.String())
}

// Reconcile makes links, maps and guard as wanted and returns what it changed.
func (t *Table) Reconcile(ctx context.Context, want datapath.Want) (diff.Delta[string], error) {
	var done diff.Delta[string]
	list, err := t.conn.Links()
	if err != nil {
		return done, err
	}
	index := make(map[string]int, len(list))
	for _, l := range list {
		index[l.Name] = l.Index
	}
	t.noteHung(want, index)
	errs := []error{
		t.guard.ensure(ctx, slices.Collect(maps.Keys(want.Inside)), &done),
		t.reconcileMaps(want, index, &done),
		t.hangUplinks(want, list, &done),
		t.hangEndpoints(want, index, &done),
	}
	slices.Sort(done.Add)
	slices.Sort(done.Change)
	slices.Sort(done.Remove)
	return done, errors.Join(errs...)
}

// noteHung notes the links of a whole state.
func (t *Table) noteHung(want datapath.Want, index map[string]int) {
	hung := map[int]bool{}
	for name := range want.Uplinks {
		hung[index[name]] = true
	}
	for _, e := range want.Endpoints {
		hung[index[e.Link]] = true
	}
	delete(hung, 0) // of those that do not exist
	t.mu.Lock()
	defer t.mu.Unlock()
	t.hung = hung
}

// hangEndpoints hangs the stubs on every endpoint's link that does not have them.
func (t *Table) hangEndpoints(want datapath.Want, index map[string]int, done *diff.Delta[string]) error {
	var errs []error
	seen := map[string]bool{}
	for _, e := range want.Endpoints {
		i, there := index[e.Link]
		if !there || seen[e.Link] {
			continue // a link that is missing is made with its stubs
		}
		seen[e.Link] = true
		for _, d := range []rtnl.Direction{rtnl.Ingress, rtnl.Egress} {
			changed, err := t.ensureFilter(i, e.Link, d, stubOf(d))
			errs = append(errs, err)
			if changed {
				done.Add = append(done.Add, fmt.Sprintf("filter %s %s", e.Link, d))
			}
		}
	}
	return errors.Join(errs...)
}

// ensureFilter hangs a program on a link unless it hangs there already.
func (t *Table) ensureFilter(index int, link string, d rtnl.Direction, name string) (changed bool, err error) {
	if have, ok, err := t.conn.Filter(index, d, name); err != nil || ok && have == uint32(t.ids[name]) {
		return false, err
	}
	return true, t.conn.Do(rtnl.AddClsact(index, link), rtnl.SetFilter(index, link, d, t.stubs[name].FD(), name))
}

// reconcileMaps makes the maps hold what is wanted.
func (t *Table) reconcileMaps(want datapath.Want, index map[string]int, done *diff.Delta[string]) error {
	links := map[uint32]uint32{}
	for name, f := range want.Uplinks {
		if i, ok := index[name]; ok {
			links[uint32(i)] = uint32(f)
		}
	}
	inside := map[insideKey]insideValue{}
	for p, in := range want.Inside {
		inside[keyOf(p)] = insideValue{Flags: uint32(in.Flags), Link: uint32(index[in.Link]), MAC: in.MAC}
	}
	endpoints := map[[16]byte]endpointValue{}
	for a, e := range want.Endpoints {
		if i, ok := index[e.Link]; ok {
			endpoints[a.As16()] = endpointValue{Link: uint32(i), MAC: e.MAC, HostMAC: e.HostMAC, Identity: e.Identity}
		}
	}
	kin := map[kinKey]endpointValue{}
	for k, e := range want.Kin {
		if i, ok := index[k.Link]; ok {
			kin[kinKey{Addr: k.Addr.As16(), Link: uint32(i)}] = endpointValue{Link: uint32(i), MAC: e.MAC, HostMAC: e.HostMAC, Identity: e.Identity}
		}
	}
	return errors.Join(
		reconcileMap(t.maps.byName["kin"], kin, func(k kinKey) string { return fmt.Sprintf("kin %s %d", netip.AddrFrom16(k.Addr), k.Link) }, done),
		reconcileMap(t.maps.byName["links"], links, func(k uint32) string { return fmt.Sprintf("uplink %d", k) }, done),
		reconcileMap(t.maps.byName["inside"], inside, func(k insideKey) string {
			return "inside " + netip.PrefixFrom(netip.AddrFrom16(k.Addr), int(k.Bits)).String()
		}, done),
		reconcileMap(t.maps.byName["endpoints"], endpoints, func(k [16]byte) string { return "endpoint " + netip.AddrFrom16(k).String() }, done),
	)
}

// reconcileMap makes a map hold want. It is read whole before anything is removed.
func reconcileMap[K, V comparable](m *ebpf.Map, want map[K]V, name func(K) string, done *diff.Delta[string]) error {
	have := map[K]V{}
	var k K
	var v V
	for it := m.Iterate(); ; {
		if !it.Next(&k, &v) {
			if err := it.Err(); err != nil {
				return fmt.Errorf("read a map of the datapath: %w", err)
			}
			break
		}
		have[k] = v
	}
	var errs []error
	for k, v := range want {
		old, there := have[k]
		if there && old == v {
			continue
		}
		if err := m.Put(k, v); err != nil {
			errs = append(errs, fmt.Errorf("write %s: %w", name(k), err))
			continue
		}
		if there {
			done.Change = append(done.Change, name(k))
		} else {
			done.Add = append(done.Add, name(k))
		}
	}
	for k := range have {
		if _, wanted := want[k]; wanted {
			continue
		}
		if err := m.Delete(k); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			errs = append(errs, fmt.Errorf("remove %s: %w", name(k), err))
			continue
		}
		done.Remove = append(done.Remove, name(k))
	}
	return errors.Join(errs...)
}
