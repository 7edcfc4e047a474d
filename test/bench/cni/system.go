package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"hexapod.dev/linux/netns"
)

// system is one plugin with its configuration, on a host of its own.
type system struct {
	name   string
	plugin string // name of the program
	config []byte
	each   int // endpoints per round
	burst  bool

	host *netns.NS
	bin  string
	made int // endpoints so far, for their names
}

// peer is a plugin of the CNI project with host-local addresses.
func peer(name, plugin, subnet string, o options, data string) *system {
	more := ""
	if plugin == "bridge" {
		more = `"bridge":"cni0","isGateway":true,`
	}
	return &system{name: name, plugin: plugin, each: o.each, burst: true, bin: o.bin,
		config: fmt.Appendf(nil, `{"cniVersion":"1.0.0","name":%q,"type":%q,%s"ipam":{"type":"host-local","dataDir":%q,"ranges":[[{"subnet":%q}]]}}`,
			name, plugin, more, filepath.Join(data, name), subnet)}
}

// endpoint is a network namespace for one attachment.
type endpoint struct {
	id, path string
}

// endpoint makes a namespace in folder.
func (s *system) endpoint(folder string) (endpoint, error) {
	s.made++
	id := fmt.Sprintf("%s-%d", s.name, s.made)
	e := endpoint{id, filepath.Join(folder, id)}
	ns, err := netns.New(e.path)
	if err != nil {
		return endpoint{}, err
	}
	return e, ns.Close()
}

func (e endpoint) remove() error { return netns.Delete(e.path) }

// run executes the plugin as a runtime would and tells how long it took.
func (s *system) run(ctx context.Context, command string, e endpoint) (time.Duration, error) {
	var took time.Duration
	err := s.host.Do(func() error {
		var out bytes.Buffer
		cmd := exec.CommandContext(ctx, filepath.Join(s.bin, s.plugin))
		cmd.Env = []string{"CNI_COMMAND=" + command, "CNI_CONTAINERID=" + e.id, "CNI_NETNS=" + e.path, "CNI_IFNAME=eth0",
			"CNI_PATH=" + s.bin, "CNI_ARGS=IgnoreUnknown=1;K8S_POD_NAMESPACE=bench;K8S_POD_NAME=" + e.id, "PATH=" + os.Getenv("PATH")}
		cmd.Stdin = bytes.NewReader(s.config)
		cmd.Stdout, cmd.Stderr = &out, &out
		start := time.Now()
		err := cmd.Run()
		took = time.Since(start)
		if err != nil {
			return fmt.Errorf("%s: %s of %s: %w: %s", s.name, command, e.id, err, out.Bytes())
		}
		return nil
	})
	return took, err
}

// together adds n endpoints at a time, then deletes them at a time.
func (s *system) together(ctx context.Context, folder string, n int) (add, del time.Duration, err error) {
	all := make([]endpoint, n)
	for i := range all {
		if all[i], err = s.endpoint(folder); err != nil {
			return 0, 0, err
		}
		defer all[i].remove()
	}
	phase := func(command string) (time.Duration, error) {
		failed := make(chan error, n)
		start := time.Now()
		for _, e := range all {
			go func() {
				_, err := s.run(ctx, command, e)
				failed <- err
			}()
		}
		var first error
		for range all {
			if err := <-failed; err != nil && first == nil {
				first = err
			}
		}
		return time.Since(start), first
	}
	if add, err = phase("ADD"); err != nil {
		return 0, 0, err
	}
	del, err = phase("DEL")
	return add, del, err
}
