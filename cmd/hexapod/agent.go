package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"syscall"

	"hexapod.dev/agent"
	"hexapod.dev/edge/kube"
	kobjects "hexapod.dev/edge/kube/objects"
	"hexapod.dev/linux/sysctl"
)

const agentAbout = `Runs the daemon of this host: it connects endpoints, keeps routes, and answers the CNI plugin.
When it ends, nothing is removed and endpoints go on talking. With --cleanup it removes everything that Hexapod holds in this
kernel, and ends.`

const agentUsage = "[--config DIR | --kube [--kubeconfig FILE]] [--host NAME] [--state DIR] [--run DIR] [--cgroup DIR] [--log-level LEVEL] [--log-format text|json] [--supervise | --cleanup [--force]]"

// nodeName is the variable of the environment that names the host in a cluster: the DaemonSet sets it.
const nodeName = "NODE_NAME"

// agentCall is one call of `hexapod agent`.
type agentCall struct {
	options        agent.Options
	config         string // folder of YAML files; in a cluster, of the files that objects name
	kube           bool
	kubeconfig     string
	cleanup, force bool
	supervise      bool
	level          slog.Level
	format         string
}

func runAgent(ctx context.Context, env environment, args []string) error {
	call, help, err := parseAgent(env, args)
	if help || err != nil {
		return err
	}
	call.options.Log = newLogger(env.stderr, call.level, call.format)
	if call.supervise {
		return supervise(ctx, env, call.options.Log, args)
	}
	if err := sysctl.MakeWritable(); err != nil {
		return err
	}
	if call.cleanup {
		report, err := agent.Cleanup(ctx, call.options, call.force)
		fmt.Fprint(env.stdout, report)
		return err
	}
	if err := call.connect(); err != nil {
		return err
	}
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	defer signal.Stop(hangups)
	call.options.Reload = hangups
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(agentGCPercent)
	}
	return agent.New(call.options).Run(ctx)
}

// connect makes the source of the configuration.
func (c *agentCall) connect() error {
	if !c.kube {
		c.options.Source = agent.Folder(c.config)
		return nil
	}
	client, err := kobjects.Connect(c.kubeconfig, "hexapod-agent/"+version)
	if err != nil {
		return err
	}
	cluster := kube.New(kube.Options{
		Client: client, Host: c.options.Host, Dir: filepath.Join(c.options.StateDir, "kube"), Secrets: c.config, Log: c.options.Log,
	})
	c.options.Source, c.options.Cluster = cluster, cluster
	return nil
}

// agentGCPercent is the garbage an agent keeps, in parts of what lives: every host has one, and it does little after its start.
// 200 endpoints take about 30 MB (TestIdleCost).
const agentGCPercent = 50

func parseAgent(env environment, args []string) (call agentCall, help bool, err error) {
	call.options.Version, call.options.Built = version, builtAt(built, debug.ReadBuildInfo)
	hostname, _ := os.Hostname() // without one --host has to be given
	if name := os.Getenv(nodeName); name != "" {
		hostname = name
	}
	f := newFlags(env, agentAbout)
	f.StringVar(&call.config, "config", defaultConfigDir, "`DIR` folder of YAML files: plan, hosts, pools, identities; with --kube, of the keys and passwords that objects name")
	f.BoolVar(&call.kube, "kube", false, "take the configuration from the API of the Kubernetes cluster that this host is a node of")
	f.StringVar(&call.kubeconfig, "kubeconfig", "", "`FILE` that says how to reach the API server; none: the service account of the pod")
	f.StringVar(&call.options.Host, "host", hostname, "`NAME` of this host in the configuration; in a cluster, of its node")
	f.StringVar(&call.options.StateDir, "state", defaultStateDir, "`DIR` folder of the journal")
	f.StringVar(&call.options.RunDir, "run", defaultRunDir, "`DIR` folder of the sockets")
	f.StringVar(&call.options.Cgroup, "cgroup", "", "`DIR` of the cgroup2 whose processes are clients of services; none: all of the machine")
	f.BoolVar(&call.supervise, "supervise", false, "run the agent in a process of its own, and start it again at once when it ends before its time")
	f.BoolVar(&call.cleanup, "cleanup", false, "remove everything that Hexapod holds in this kernel, then end")
	f.BoolVar(&call.force, "force", false, "with --cleanup: also when endpoints are living")
	f.TextVar(&call.level, "log-level", slog.LevelInfo, "`LEVEL` from which on is logged: debug, info, warn or error")
	f.StringVar(&call.format, "log-format", "text", "`text|json` of the log, on standard error")
	if help, err = f.parse(args); help || err != nil {
		return call, help, err
	}
	switch {
	case call.kubeconfig != "" && !call.kube:
		return call, false, usagef("--kubeconfig means something only with --kube")
	case call.supervise && call.cleanup:
		return call, false, usagef("--supervise and --cleanup exclude each other")
	case call.force && !call.cleanup:
		return call, false, usagef("--force means something only with --cleanup")
	case call.format != "text" && call.format != "json":
		return call, false, usagef("--log-format %s: want text or json", call.format)
	case call.options.Host == "":
		return call, false, usagef("--host is needed: which host of the configuration is this?")
	}
	return call, false, nil
}

func newLogger(w io.Writer, level slog.Level, format string) *slog.Logger {
	o := &slog.HandlerOptions{Level: level}
	if format == "json" {
		return slog.New(slog.NewJSONHandler(w, o))
	}
	return slog.New(slog.NewTextHandler(w, o))
}
