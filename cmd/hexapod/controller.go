package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"

	"hexapod.dev/controller"
	"hexapod.dev/edge/kube/objects"
)

const controllerAbout = `Runs the controller of a Kubernetes cluster: it gives prefixes to nodes, numbers to sets of labels and fixed addresses to pods,
each as an object that is named after it. Several may run; one leads. When it ends, what was given stays given.`

const controllerUsage = "[--kubeconfig FILE] [--namespace NAME] [--cluster NAME] [--identity NAME] [--listen ADDRESS] [--log-level LEVEL] [--log-format text|json]"

// controllerCall is one call of `hexapod controller`.
type controllerCall struct {
	options    controller.Options
	kubeconfig string
	level      slog.Level
	format     string
}

func runController(ctx context.Context, env environment, args []string) error {
	call, help, err := parseController(env, args)
	if help || err != nil {
		return err
	}
	call.options.Log = newLogger(env.stderr, call.level, call.format)
	if call.options.Client, err = objects.Connect(call.kubeconfig, "hexapod-controller/"+version); err != nil {
		return err
	}
	return controller.New(call.options).Run(ctx)
}

func parseController(env environment, args []string) (call controllerCall, help bool, err error) {
	hostname, _ := os.Hostname() // without one --identity has to be given
	identity := ""
	if hostname != "" {
		identity = fmt.Sprintf("%s_%d", hostname, os.Getpid())
	}
	f := newFlags(env, controllerAbout)
	f.StringVar(&call.kubeconfig, "kubeconfig", "", "`FILE` of the API server's address and our credentials; none: those of the pod this runs in")
	f.StringVar(&call.options.Namespace, "namespace", "hexapod-system", "`NAME` of the namespace of the lease")
	f.StringVar(&call.options.Cluster, "cluster", "", "`NAME` of the plan's cluster that this is; none: the only one")
	f.StringVar(&call.options.Identity, "identity", identity, "`NAME` of this process among those that compete for the lease")
	f.StringVar(&call.options.Listen, "listen", "", "`ADDRESS` such as [::1]:9966 where /metrics and /healthz are served; none: nowhere")
	f.TextVar(&call.level, "log-level", slog.LevelInfo, "`LEVEL` from which on is logged: debug, info, warn or error")
	f.StringVar(&call.format, "log-format", "text", "`text|json` of the log, on standard error")
	if help, err = f.parse(args); help || err != nil {
		return call, help, err
	}
	switch {
	case call.format != "text" && call.format != "json":
		return call, false, usagef("--log-format %s: want text or json", call.format)
	case call.options.Identity == "":
		return call, false, usagef("--identity is needed: this machine has no name")
	}
	return call, false, nil
}
