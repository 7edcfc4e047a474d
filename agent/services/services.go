// Package services keeps what clients on this host are led to: the backends of services, chosen when a socket connects, or packet by packet.
//
// Beside the hooks at sockets that is: which endpoints the hooks leave alone, because a proxy beside them has to see the address of the
// service, and the sockets that are cut when the backend they talk to is gone.
package services

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"hexapod.dev/linux/datapath"
	"hexapod.dev/linux/datapath/connect"
	"hexapod.dev/linux/datapath/pin"
	"hexapod.dev/linux/netns"
	"hexapod.dev/model/desired"
	"hexapod.dev/model/diff"
	"hexapod.dev/model/service"
)

// Options are what a keeper works with.
type Options struct {
	RunDir string    // folder of the agent
	BPF    string    // as the agent's
	Cgroup string    // folder of the cgroup2 whose processes are clients; empty: all of the machine
	NS     *netns.NS // namespace of the host; nil: that of the process
	Log    *slog.Logger

	Cluster  bool // services are told by a cluster: until it has told of all, nothing of an earlier agent is removed
	Snapshot func() desired.Snapshot
	Off      func() bool                         // whether the plan leaves services to another proxy
	Here     func(service.Source) service.Source // a service as clients on this host are led to it
	Asks     func(desired.Endpoint) bool         // whether the owner of an endpoint asks for packets to be led instead of sockets
	Programs func() *datapath.Table              // the programs that lead packets; nil: none

	Again   func() // asks for a pass of Reconcile; it must not wait
	Sockets func() // asks for a pass of CutSockets; it must not wait
	Look    func() // asks for a pass of Bypass; it must not wait
}

// Keeper makes the kernel lead clients as the snapshot says. New makes it; Close ends what it began, and the kernel goes on leading.
type Keeper struct {
	options   Options
	took      prometheus.Histogram // of bringing one change into the kernel
	redirects redirects

	mu    sync.Mutex // guards all following fields
	board service.Board
	told  bool             // the cluster has told all of its services; where there is none, nothing is waited for
	off   bool             // the plan leaves services to another proxy
	gone  []netip.AddrPort // backends whose sockets are to be cut
	hooks *connect.Hooks   // nil: none are needed, or they could not be opened
}

// New makes a keeper. Nothing is opened before a pass finds a service.
func New(o Options) *Keeper { return &Keeper{options: o, took: newTimes()} }

// Close closes the maps and the watches over endpoints. The kernel goes on leading clients.
func (k *Keeper) Close() error {
	err := k.redirects.Close()
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.hooks == nil {
		return err
	}
	return errors.Join(err, k.hooks.Close())
}

// Reconcile makes the kernel lead clients as the snapshot says. While there is no service and there was none, nothing is opened.
func (k *Keeper) Reconcile(ctx context.Context) (none diff.Delta[string], _ error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	snapshot := k.options.Snapshot()
	if k.off = k.options.Off(); k.off {
		return none, errors.Join(k.leave(), k.leadPackets(false))
	}
	if k.hooks == nil && snapshot.Services.Len() == 0 && !k.options.Cluster {
		return none, nil
	}
	if err := k.open(); err != nil {
		return none, err
	}
	if err := k.leadPackets(true); err != nil {
		return none, err
	}
	k.options.Look()
	if !k.told && k.options.Cluster { // half a list is no list: what an earlier agent made goes on meanwhile
		return none, nil
	}
	k.board = service.Board{}
	for _, src := range snapshot.Services.All() {
		k.board.Put(k.options.Here(src), snapshot.Place)
	}
	delta, err := k.hooks.Reconcile(ctx, k.board.All())
	k.noteGone()
	return delta, err
}

// Told is called when the cluster has told of all its services: from now on those that it has not are removed.
func (k *Keeper) Told() {
	k.mu.Lock()
	k.told = true
	k.mu.Unlock()
	k.options.Again()
}

// Put makes the kernel follow the newest word about one service. What fails is tried again by a pass.
func (k *Keeper) Put(ctx context.Context, src service.Source) {
	k.follow(ctx, func(b *service.Board) service.Change { return b.Put(k.options.Here(src), k.options.Snapshot().Place) })
}

// Drop makes the kernel follow the end of a service. What fails is tried again by a pass.
func (k *Keeper) Drop(ctx context.Context, n service.Name) {
	k.follow(ctx, func(b *service.Board) service.Change { return b.Delete(n) })
}

func (k *Keeper) follow(ctx context.Context, change func(*service.Board) service.Change) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.hooks == nil { // the next pass will see it
		k.options.Again()
		return
	}
	begun := time.Now()
	c := change(&k.board)
	var errs []error
	for _, f := range c.Ensure {
		errs = append(errs, k.hooks.Ensure(ctx, f))
	}
	for _, key := range c.Remove {
		errs = append(errs, k.hooks.Remove(ctx, key))
	}
	k.noteGone()
	err := errors.Join(errs...)
	k.took.Observe(time.Since(begun).Seconds())
	if err != nil {
		k.options.Log.Warn("a change of a service did not reach the kernel, trying again", "error", err)
		k.options.Again()
	}
}

// open opens the hooks. The caller holds mu.
func (k *Keeper) open() error {
	if k.hooks != nil {
		return nil
	}
	find := connect.Root
	if k.options.Cgroup != "" {
		find = func() (string, error) { return connect.Below(k.options.Cgroup) }
	}
	cgroup, err := find()
	if err != nil {
		return err
	}
	folder, err := pin.Open(cmp.Or(k.options.BPF, pin.DefaultRoot), k.options.RunDir)
	if err != nil {
		return err
	}
	k.hooks, err = connect.Open(folder, cgroup)
	return err
}

// leadPackets makes the programs of the datapath lead packets to services, where there are such programs: of clients that the hooks do
// not see.
func (k *Keeper) leadPackets(on bool) error {
	table := k.options.Programs()
	if table == nil {
		return nil
	}
	return table.Maps().SetServices(on)
}

// leave takes the hooks off. The caller holds mu.
func (k *Keeper) leave() error {
	folder, err := pin.Find(cmp.Or(k.options.BPF, pin.DefaultRoot), k.options.RunDir)
	if err != nil {
		return err
	}
	if folder != nil {
		err = connect.Detach(folder)
	}
	if k.hooks != nil {
		err = errors.Join(err, k.hooks.Close())
		k.hooks = nil
	}
	return err
}

// Remove takes the hooks off and their maps away, whoever made them. It needs RunDir and BPF alone, and no agent.
func Remove(o Options) error {
	folder, err := pin.Find(cmp.Or(o.BPF, pin.DefaultRoot), o.RunDir)
	if err != nil || folder == nil {
		return err
	}
	return connect.Remove(folder)
}
