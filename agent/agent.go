package agent

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"hexapod.dev/agent/allocation"
	"hexapod.dev/agent/delegation"
	"hexapod.dev/agent/local"
	"hexapod.dev/agent/policies"
	"hexapod.dev/agent/resolver"
	"hexapod.dev/agent/seeing"
	"hexapod.dev/agent/services"
	"hexapod.dev/agent/speaking"
	"hexapod.dev/agent/translator"
	"hexapod.dev/agent/upstream"
	"hexapod.dev/edge/cni"
	"hexapod.dev/linux/hostid"
	"hexapod.dev/linux/ndp"
	"hexapod.dev/linux/netns"
	"hexapod.dev/linux/pages"
	"hexapod.dev/linux/rtnl"
	"hexapod.dev/model/dns64"
)

// Options are what one agent is started with.
type Options struct {
	Source   Source  // of the configuration
	Cluster  Cluster // the same source, of a host in a Kubernetes cluster; else nil
	Host     string  // name of this host in the configuration
	StateDir string  // folder of the journal and of tombstones; made if missing
	Cgroup   string  // folder of the cgroup2 whose processes are clients of services; empty: all of the machine
	RunDir   string  // folder of the sockets; made if missing
	BPF      string  // a BPF file system for what has to outlive the agent; empty: that of the host, or one below RunDir
	Version  string
	Built    time.Time // of the commit this program was made from; an earlier clock is wrong; zero: not known
	Log      *slog.Logger
	Reload   <-chan os.Signal // asks to read the configuration again; nil: only changes of the source do
	NS       *netns.NS        // namespace of the host; nil: that of the process
	Ready    func()           // called once when the agent serves; may be nil
}

// Agent is the daemon of one host. It is used once: New, then Run.
type Agent struct {
	options Options
	log     *slog.Logger
	started time.Time
	ownNS   netns.ID
	boot    string // id of the host's boot

	config     atomic.Pointer[configuration]
	loading    loadState
	sections   sections
	board      board
	serving    atomic.Bool // the book is open and requests are taken
	dirty      keySet
	cared      atomic.Pointer[cared]
	keys       keyLocks
	passing    sync.RWMutex // held for writing by a pass over a whole table, for reading by an ADD or DEL
	others     others       // guarded by passing
	runners    map[string]*runner
	metrics    *metrics
	kernel     *kernel
	book       *allocation.Book
	second     second // IPv4 addresses beside those of book
	answers    *ndp.Responder
	speaking   *speaking.Mouth
	services   *services.Keeper
	policies   *policies.Enforcer
	told       clusterPolicies
	translator *translator.Translator
	upstream   *upstream.Finder
	datapath   programs
	seeing     *seeing.Observer
	seen       seen

	resolver *resolver.Resolver
	clients  atomic.Pointer[dns64.Clients] // as the resolver was told

	delegation *delegation.Delegation // nil where the configuration gives this host its prefix
}

// New returns an agent that has not begun: no file is open and nothing runs.
func New(o Options) *Agent {
	a := &Agent{options: o, log: o.Log, runners: map[string]*runner{}}
	a.metrics = newMetrics(o.Version, a.Report)
	a.services = a.newServices()
	a.policies = a.newPolicies()
	a.resolver = resolver.New(resolver.Options{RunDir: o.RunDir, NS: o.NS, Log: o.Log, Led: func() { a.kick(partServices) }})
	a.metrics.registry.MustRegister(careCollector{a}, services.Collector{Keeper: a.services}, policies.Collector{Enforcer: a.policies}, resolver.Collector{Resolver: a.resolver}, heardCollector{a})
	return a
}

// Run serves until ctx ends. When it returns, the kernel is left as it is: endpoints go on talking (fail-static).
func (a *Agent) Run(ctx context.Context) (err error) {
	a.started = time.Now()
	var closing closers
	defer func() { err = errors.Join(err, closing.Close()) }()
	sub, err := a.openHost(ctx, &closing)
	if err != nil {
		return err
	}
	cluster := a.startCluster(ctx)
	defer func() { err = errors.Join(err, cluster()) }()
	if err := a.open(ctx, &closing); err != nil {
		return err
	}
	// Of 100,000 learned routes, of routes to other hosts, and of each endpoint that is made, the agent need not be told what it did.
	if err := errors.Join(a.speaking.Hush(sub), a.kernel.links.Hush(sub), a.kernel.routes.Hush(sub)); err != nil {
		return err
	}
	if err := a.recover(ctx); err != nil {
		return err
	}
	if err := a.checkLiving(); err != nil {
		return err
	}
	api, err := local.Listen(filepath.Join(a.options.RunDir, local.Socket))
	if err != nil {
		return err
	}
	// What fails in the first pass is in the status and tried again; an agent that gave up here would help nobody.
	if err := a.firstLinks(ctx); err != nil {
		a.log.Error("links of endpoints are not all as wanted", "error", err)
	}
	a.sections.SetTranslating(a.translator.Find())
	_ = a.runners[partPolicy].Pass(ctx) // before any program can let something pass
	for _, part := range parts {
		_ = a.runners[part].Pass(ctx)
	}
	a.findDNS()
	_ = a.runners[partServices].Pass(ctx)
	_ = a.runners[partDNS].Pass(ctx)
	a.kick(partNAT64)

	g, ctx := errgroup.WithContext(ctx)
	for _, r := range a.runners {
		g.Go(func() error { return r.Run(ctx) })
	}
	g.Go(func() error { return a.watch(ctx, sub) })
	g.Go(func() error { return a.watchSource(ctx) })
	g.Go(func() error { return a.runServices(ctx) })
	g.Go(func() error { return a.translator.Run(ctx) })
	g.Go(func() error { return a.seeing.Run(ctx) })
	g.Go(func() error { return a.upstream.Run(ctx) })
	g.Go(func() error { return a.runPolicies(ctx) })
	g.Go(func() error { return a.resolver.Run(ctx) })
	g.Go(func() error { return a.book.Run(ctx) })
	g.Go(func() error { return a.second.Run(ctx) })
	g.Go(func() error { return a.runAnswers(ctx) })
	g.Go(func() error { return a.speaking.Run(ctx) })
	g.Go(func() error { return a.kernel.routers.Run(ctx, a.toldOfRouter) })
	g.Go(func() error { return a.delegation.Run(ctx) })
	g.Go(func() error { return local.Serve(ctx, api, local.Handler(a, a.metrics.handler())) })
	server := &cni.Server{RunDir: a.options.RunDir, StateDir: a.options.StateDir, Backend: a, Log: a.log, Ready: a.ready}
	g.Go(func() error { return server.Run(ctx) })
	err = g.Wait()
	a.log.Info("agent ends; what it made stays", "host", a.options.Host)
	last := context.WithoutCancel(ctx)
	return errors.Join(err, a.reap(last), a.kernel.links.Complete(last))
}

// openHost takes the run folder and looks at the kernel, before anything is known of the configuration.
func (a *Agent) openHost(ctx context.Context, closing *closers) (*rtnl.Subscription, error) {
	lock, err := takeRunFolder(ctx, a.options.RunDir)
	if err != nil {
		return nil, err
	}
	closing.add(lock)
	if err := os.MkdirAll(a.options.StateDir, 0o755); err != nil {
		return nil, err
	}
	if a.kernel, err = openKernel(a.options.NS); err != nil {
		return nil, err
	}
	closing.add(a.kernel)
	a.kernel.care.Remember(settingsFile(a.options))
	a.openTranslator()
	if a.ownNS, err = ownID(a.options.NS); err != nil {
		return nil, err
	}
	a.openSeeing()
	if a.boot, err = hostid.Boot(os.DirFS("/")); err != nil {
		return nil, err
	}
	sub, err := a.subscribe() // before the first look, so that nothing between is missed
	if err != nil {
		return nil, err
	}
	closing.add(sub)
	return sub, a.lookAtLinks()
}

// startCluster begins to follow the pods of this host in a cluster and to tell of the host. The function it returns ends that.
func (a *Agent) startCluster(ctx context.Context) (end func() error) {
	if a.options.Cluster == nil {
		return func() error { return nil }
	}
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- a.options.Cluster.Run(ctx, a.hostReport, a.toldOf) }()
	return func() error {
		cancel()
		return <-ended
	}
}

// open reads the configuration and opens the book of allocations.
func (a *Agent) open(ctx context.Context, closing *closers) (err error) {
	if err := a.openUpstream(closing); err != nil {
		return err
	}
	if err := a.loadFirst(ctx); err != nil {
		return err
	}
	if err := a.openDatapath(closing); err != nil {
		return err
	}
	if err := a.openDelegation(closing); err != nil {
		return err
	}
	if a.book, err = a.openBook(); err != nil {
		return err
	}
	closing.add(a.book)
	if err := a.openSecond(closing); err != nil {
		return err
	}
	if err := a.openAnswers(closing); err != nil {
		return err
	}
	closing.add(a.services)
	if err := a.openSpeaking(closing); err != nil {
		return err
	}
	a.addRunners()
	return nil
}

// ready is called by the CNI server when it takes requests.
func (a *Agent) ready() {
	a.log.Info("agent serves", "host", a.options.Host, "prefix", a.sections.Snapshot().HostPrefix(), "endpoints", a.sections.Snapshot().Endpoints.Len())
	a.serving.Store(true)
	a.reportSoon()
	if err := notifyReady(); err != nil {
		a.log.Warn("service manager not told", "error", err)
	}
	if a.options.Ready != nil {
		a.options.Ready()
	}
	if err := pages.Trim(); err != nil {
		a.log.Warn("memory of the start is kept", "error", err)
	}
}

func ownID(ns *netns.NS) (netns.ID, error) {
	if ns != nil {
		return ns.ID()
	}
	current, err := netns.Current()
	if err != nil {
		return netns.ID{}, err
	}
	defer current.Close()
	return current.ID()
}
