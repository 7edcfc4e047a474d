package agent

import (
	"cmp"
	"context"
	"errors"
	"net/netip"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"hexapod.dev/linux/datapath/connect"
	"hexapod.dev/linux/datapath/pin"
	"hexapod.dev/model/desired"
	"hexapod.dev/model/service"
)

// partServices leads clients on this host to the backends of services.
const partServices = "services"

// services is what clients on this host are led to.
type services struct {
	took prometheus.Histogram // of bringing one change into the kernel

	mu    sync.Mutex // guards all following fields
	board service.Board
	told  bool             // the cluster has told all of its services; where there is none, nothing is waited for
	off   bool             // the plan leaves services to another proxy
	gone  []netip.AddrPort // backends whose sockets are to be cut
	hooks *connect.Hooks   // nil: none are needed, or they could not be opened
}

// Close closes the maps. The kernel goes on leading clients.
func (s *services) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.hooks == nil {
		return nil
	}
	return s.hooks.Close()
}

// serveAll makes the kernel lead clients as the snapshot says. While there is no service and there was none, nothing is opened.
func (a *Agent) serveAll(ctx context.Context) error {
	s := &a.services
	s.mu.Lock()
	defer s.mu.Unlock()
	snapshot := a.sections.Snapshot()
	if s.off = a.config.Load().noServices; s.off {
		return errors.Join(s.leave(a.options), a.leadPackets(false))
	}
	if s.hooks == nil && snapshot.Services.Len() == 0 && a.options.Cluster == nil {
		return nil
	}
	if err := s.open(a.options); err != nil {
		return err
	}
	if err := a.leadPackets(true); err != nil {
		return err
	}
	a.bypassSoon()
	if !s.told && a.options.Cluster != nil { // half a list is no list: what an earlier agent made goes on meanwhile
		return nil
	}
	s.board = a.boardOf(snapshot)
	delta, err := s.hooks.Reconcile(ctx, s.board.All())
	a.changed(partServices, delta)
	a.noteGone()
	return err
}

func (a *Agent) boardOf(s desired.Snapshot) (b service.Board) {
	for _, src := range s.Services.All() {
		b.Put(a.ledHere(src), s.Place)
	}
	return b
}

// open opens the hooks. The caller holds mu.
func (s *services) open(o Options) error {
	if s.hooks != nil {
		return nil
	}
	find := connect.Root
	if o.Cgroup != "" {
		find = func() (string, error) { return connect.Below(o.Cgroup) }
	}
	cgroup, err := find()
	if err != nil {
		return err
	}
	folder, err := pin.Open(cmp.Or(o.BPF, pin.DefaultRoot), o.RunDir)
	if err != nil {
		return err
	}
	s.hooks, err = connect.Open(folder, cgroup)
	return err
}

// leadPackets makes the programs of the datapath lead packets to services, where there are such programs: of clients that the hooks do
// not see.
func (a *Agent) leadPackets(on bool) error {
	if a.datapath.table == nil {
		return nil
	}
	return a.datapath.table.Maps().SetServices(on)
}

// leave takes the hooks off. The caller holds mu.
func (s *services) leave(o Options) error {
	folder, err := pin.Find(cmp.Or(o.BPF, pin.DefaultRoot), o.RunDir)
	if err != nil {
		return err
	}
	if folder != nil {
		err = connect.Detach(folder)
	}
	if s.hooks != nil {
		err = errors.Join(err, s.hooks.Close())
		s.hooks = nil
	}
	return err
}

// serve follows the newest word about one service, now.
func (a *Agent) serve(ctx context.Context, src service.Source) {
	a.sections.SetService(src)
	a.followService(ctx, func(b *service.Board, p service.Place) service.Change { return b.Put(a.ledHere(src), p) })
	if a.isDNS(src.Service.Name) {
		a.kick(partDNS)
	}
}

// serveNoMore follows the end of a service.
func (a *Agent) serveNoMore(ctx context.Context, n service.Name) {
	a.sections.DeleteService(n)
	a.followService(ctx, func(b *service.Board, _ service.Place) service.Change { return b.Delete(n) })
}

// followService makes the kernel follow one change. What fails is tried again by a pass.
func (a *Agent) followService(ctx context.Context, change func(*service.Board, service.Place) service.Change) {
	s := &a.services
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.hooks == nil { // the next pass will see it
		a.kick(partServices)
		return
	}
	begun := time.Now()
	c := change(&s.board, a.sections.Snapshot().Place)
	var errs []error
	for _, f := range c.Ensure {
		errs = append(errs, s.hooks.Ensure(ctx, f))
	}
	for _, k := range c.Remove {
		errs = append(errs, s.hooks.Remove(ctx, k))
	}
	a.noteGone()
	err := errors.Join(errs...)
	s.took.Observe(time.Since(begun).Seconds())
	if err != nil {
		a.log.Warn("a change of a service did not reach the kernel, trying again", "error", err)
		a.kick(partServices)
	}
}

// runServices follows the services of a cluster until ctx ends.
func (a *Agent) runServices(ctx context.Context) error {
	if a.options.Cluster == nil {
		return nil
	}
	return a.options.Cluster.FollowServices(ctx, clusterServices{a})
}

// clusterServices writes down what a cluster tells.
type clusterServices struct{ a *Agent }

// Whole implements kube.ServiceSink.
func (c clusterServices) Whole(ctx context.Context, all []service.Source) {
	c.a.sections.SetClusterServices(all)
	c.a.services.mu.Lock()
	c.a.services.told = true
	c.a.services.mu.Unlock()
	c.a.kick(partServices, partDNS)
}

// Put implements kube.ServiceSink.
func (c clusterServices) Put(ctx context.Context, s service.Source) { c.a.serve(ctx, s) }

// Drop implements kube.ServiceSink.
func (c clusterServices) Drop(ctx context.Context, n service.Name) { c.a.serveNoMore(ctx, n) }

// Where implements kube.ServiceSink: which endpoints are near follows from it.
func (c clusterServices) Where(p service.Place) {
	if c.a.sections.SetPlace(p) {
		c.a.kick(partServices)
	}
}

// removeServices takes the hooks off and their maps away.
func removeServices(o Options) error {
	folder, err := pin.Find(cmp.Or(o.BPF, pin.DefaultRoot), o.RunDir)
	if err != nil || folder == nil {
		return err
	}
	return connect.Remove(folder)
}
