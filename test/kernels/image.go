package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"

	"hexapod.dev/test/kernels/plan"
)

// tools are the programs that tests run, with the libraries they need.
var tools = []string{"ip", "nft", "ping", "sysctl", "tc", "busybox"}

// build builds what runs inside: a test program for each package, and the first process.
func build(ctx context.Context, work string, steps []plan.Step) (map[string]string, error) {
	programs := map[string]string{}
	for _, s := range steps {
		if s.Package == "" || programs[s.Program()] != "" {
			continue
		}
		at := filepath.Join(work, s.Program())
		if err := goBuild(ctx, "test", "-c", "-o", at, "hexapod.dev/"+s.Package); err != nil {
			return nil, err
		}
		programs[s.Program()] = at
	}
	programs["guest"] = filepath.Join(work, "guest")
	return programs, goBuild(ctx, "build", "-o", programs["guest"], "hexapod.dev/test/kernels/guest")
}

// image writes the first file system of a kernel.
func image(ctx context.Context, at string, k kernel, programs map[string]string, steps []plan.Step) error {
	a, err := newArchive(at)
	if err != nil {
		return err
	}
	for _, dir := range []string{"proc", "sys", "dev", "run", "tmp", "etc/hexapod", "var/lib/hexapod", "root"} {
		if err := a.dir(dir); err != nil {
			return err
		}
	}
	if err := a.add("init", programs["guest"]); err != nil {
		return err
	}
	modules, err := order(k.modules)
	if err != nil {
		return err
	}
	g := plan.Guest{Steps: steps}
	for _, path := range modules {
		name := "/modules/" + filepath.Base(path)
		g.Modules = append(g.Modules, name)
		if err := a.add(name, path); err != nil {
			return err
		}
	}
	for name, path := range programs {
		if err := a.add("/bin/"+name, path); err != nil {
			return err
		}
	}
	for _, name := range tools {
		if err := addTool(ctx, a, name); err != nil {
			return err
		}
	}
	if err := a.link("/bin/sh", "busybox"); err != nil {
		return err
	}
	for _, s := range steps { // tests look for testdata beside their source
		if s.Package != "" {
			if err := a.dir(s.Dir()); err != nil {
				return err
			}
		}
	}
	body, err := json.Marshal(g)
	if err != nil {
		return err
	}
	if err := a.entry(plan.File, modeFile, body); err != nil {
		return err
	}
	return a.close()
}

// addTool adds a program of this machine and the libraries that it is linked with.
func addTool(ctx context.Context, a *archive, name string) error {
	path, err := exec.LookPath(name)
	if err != nil {
		return fmt.Errorf("the tests run %s: %w (see test/packages.txt)", name, err)
	}
	if err := a.add("/bin/"+name, path); err != nil {
		return err
	}
	out, err := output(ctx, "", "ldd", path)
	if err != nil {
		return nil // linked with none
	}
	for line := range strings.Lines(out) {
		for _, word := range strings.Fields(line) {
			if !strings.HasPrefix(word, "/") {
				continue
			}
			if err := a.add(word, word); err != nil {
				return err
			}
		}
	}
	return nil
}
