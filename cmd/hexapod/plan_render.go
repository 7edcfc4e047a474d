package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"hexapod.dev/edge/objects"
	"hexapod.dev/model/addressplan/render"
)

const planRenderAbout = `Writes the plan for another program. Targets, and what each is written for:

  frr, bird   a spine, a rack's ToR or a host: sessions over link-local addresses, a prefix list for each direction of each
  filter      nftables: the edge filter of a spine (needs --outside), the port filter of a rack's ToR
  radvd, kea  a rack's ToR: advertisements; one delegated prefix per port
  kubeadm     each cluster, or one host
  docker      a host: daemon.json
  zone        reverse zones of the whole fabric
  json        everything

One file goes to the terminal; several go there one after the other, each under a line with its name, or into --out.`

func runPlanRender(_ context.Context, env environment, args []string) error {
	f := newFlags(env, planRenderAbout)
	dir := f.config()
	target := f.String("for", "", "`TARGET` to write for: "+strings.Join(render.Targets(), ", "))
	var s render.Scope
	f.StringVar(&s.Host, "host", "", "`NAME` of a host")
	f.StringVar(&s.Rack, "rack", "", "`CLUSTER/RACK` of a ToR, or the rack where there is one cluster")
	spine := f.Uint("spine", 0, "`N` number of a spine, from 1")
	o := render.Options{Ports: map[string]string{}}
	f.Func("port", "`NAME=PORT` port at which a host is at its ToR, or a CLUSTER/RACK at the spine; as often as needed", func(v string) error {
		name, port, ok := strings.Cut(v, "=")
		if !ok || name == "" || port == "" {
			return fmt.Errorf("%q: want NAME=PORT", v)
		}
		o.Ports[name] = port
		return nil
	})
	listFlag := func(to *[]string, name, usage string) {
		f.Func(name, usage, func(v string) error { *to = append(*to, strings.Split(v, ",")...); return nil })
	}
	listFlag(&o.SpinePorts, "spine-port", "`PORTS` of a ToR that lead to spines, with commas (default swp49)")
	listFlag(&o.Uplinks, "uplink", "`LINKS` of a host that lead to its ToR, with commas (default eth0)")
	listFlag(&o.Outside, "outside", "`PORTS` of a spine that leave the fabric, with commas")
	f.StringVar(&o.Domain, "domain", "", "`NAME` under which hosts are in zones (default hexapod.internal)")
	f.StringVar(&o.NameServer, "name-server", "", "`NAME` of the server of the zones (default localhost)")
	serial := f.Uint("serial", 1, "`N` version of the zones")
	out := f.String("out", "", "`DIR` folder to write into")
	if help, err := f.parse(args); help || err != nil {
		return err
	}
	s.Spine, o.Serial = uint32(*spine), uint32(*serial)
	switch {
	case !slices.Contains(render.Targets(), *target):
		return usagef("say with --for what to write: %s", strings.Join(render.Targets(), ", "))
	case s.Host != "" && s.Rack != "" || s.Host != "" && s.Spine != 0 || s.Rack != "" && s.Spine != 0:
		return usagef("want one of --host, --rack and --spine")
	case *spine > 1<<32-1 || *serial > 1<<32-1:
		return usagef("numbers of spines and serials have 32 bits")
	}
	set, err := loadPlanned(*dir)
	if err != nil {
		return err
	}
	o.Translated = objects.Announced(set.Objects)
	files, err := render.Render(set.Model.Plan, render.Target(*target), s, o)
	if err != nil {
		return err
	}
	return writeRendered(env, *out, files)
}

func writeRendered(env environment, dir string, files []render.File) error {
	if dir == "" && len(files) == 1 {
		_, err := fmt.Fprint(env.stdout, files[0].Text)
		return err
	}
	for _, f := range files {
		if dir == "" {
			fmt.Fprintf(env.stdout, "-- %s --\n%s", f.Name, f.Text)
			continue
		}
		path := filepath.Join(dir, f.Name)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return fmt.Errorf("make the folder for the files: %w", err)
		}
		if err := os.WriteFile(path, []byte(f.Text), 0o644); err != nil {
			return fmt.Errorf("write %s: %w", path, err)
		}
		fmt.Fprintln(env.stdout, path)
	}
	return nil
}
