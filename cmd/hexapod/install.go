package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"hexapod.dev/edge/cni/install"
)

const installAbout = `Puts the CNI plugin and its network configuration where a container runtime looks for them. With --remove it takes both away.`

const installUsage = "[--bin-dir DIR] [--conf-dir DIR] [--plugin FILE] [--chain NAME,...|none] [--run DIR] [--state DIR] [--remove [--wait]]"

func runInstall(ctx context.Context, env environment, args []string) error {
	f := newFlags(env, installAbout)
	var o install.Options
	f.StringVar(&o.BinDir, "bin-dir", "/opt/cni/bin", "`DIR` where the runtime looks for plugins")
	f.StringVar(&o.ConfDir, "conf-dir", "/etc/cni/net.d", "`DIR` where the runtime looks for network configurations")
	f.StringVar(&o.Plugin, "plugin", besideThis(install.Plugin), "`FILE` that is the plugin")
	f.StringVar(&o.RunDir, "run", defaultRunDir, "`DIR` run folder of the agent")
	f.StringVar(&o.StateDir, "state", defaultStateDir, "`DIR` state folder of the agent")
	chain := f.String("chain", "", "`NAME,...|none` plugins behind this one; left out: portmap, if it is in --bin-dir")
	remove := f.Bool("remove", false, "take both away")
	stay := f.Bool("wait", false, "with --remove: go on when that is done, until told to end; so a DaemonSet shows which hosts are clean")
	if help, err := f.parse(args); help || err != nil {
		return err
	}
	if *stay && !*remove {
		return usagef("--wait means something only with --remove")
	}
	switch *chain {
	case "":
	case "none":
		o.Chain = []string{}
	default:
		o.Chain = strings.Split(*chain, ",")
	}
	act := install.Put
	if *remove {
		act = install.Remove
	}
	did, err := act(o)
	for _, line := range did {
		fmt.Fprintln(env.stdout, line)
	}
	if err == nil && *stay {
		<-ctx.Done()
	}
	return err
}

// besideThis is the path of a program that lies in the folder of this one.
func besideThis(name string) string {
	self, err := os.Executable()
	if err != nil {
		return name
	}
	return filepath.Join(filepath.Dir(self), name)
}
