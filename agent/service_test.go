package agent_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"hexapod.dev/agent/local"
	"hexapod.dev/linux/datapath/connect"
	"hexapod.dev/linux/datapath/pin"
	"hexapod.dev/model/service"
)

// withServices gives a host a cgroup of its own, so that its services concern nobody else on the machine.
func withServices(t testing.TB) *host {
	t.Helper()
	h := newHost(t)
	root, err := connect.Root()
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp(root, "hexapod-agent-test-")
	if err != nil {
		t.Fatal(err)
	}
	h.cgroup = dir
	t.Cleanup(func() {
		folder, err := pin.Open(h.options().BPF, h.run())
		if err != nil {
			t.Error(err)
			return
		}
		if err := connect.Detach(folder); err != nil {
			t.Error(err)
		}
		if err := folder.Remove(); err != nil {
			t.Error(err)
		}
		if err := os.Remove(filepath.Clean(dir)); err != nil {
			t.Error(err)
		}
	})
	return h
}

const webService = `
---
apiVersion: hexapod.dev/v1alpha1
kind: Service
metadata: {name: web}
spec:
  addresses: ["2001:db8:f::1"]
  ports: [{name: http, port: 80, targetPort: 8080}, {name: dns, port: 53, protocol: UDP}]
  affinity: 90s
  backends: [%s]
`

// Services come with the configuration, change and go with it; a restart finds them as they were.
func TestServices(t *testing.T) {
	t.Parallel()
	h := withServices(t)
	backends := func(list ...string) string {
		var words []string
		for _, b := range list {
			words = append(words, fmt.Sprintf("{address: %q}", b))
		}
		return plan + fmt.Sprintf(webService, strings.Join(words, ", "))
	}
	led := func() string {
		list, err := h.client().Services(t.Context())
		if err != nil {
			return err.Error()
		}
		var lines []string
		for _, s := range list {
			lines = append(lines, fmt.Sprint(s.Name, " ", service.Key{Addr: s.Address, Port: s.Port, Protocol: s.Protocol}, " ", s.Backends, " ", s.Affinity, " ", s.State, s.Why))
		}
		return strings.Join(lines, "\n")
	}
	want := func(what, lines string) {
		t.Helper()
		until(t, what, func() bool { return led() == lines })
	}
	h.configure(backends("2001:db8:1::1", "2001:db8:1::2"))
	h.start()
	two := "web [2001:db8:f::1]:53 UDP [[2001:db8:1::1]:53 [2001:db8:1::2]:53] 90 done\nweb [2001:db8:f::1]:80 TCP [[2001:db8:1::1]:8080 [2001:db8:1::2]:8080] 90 done"
	want("two backends", two)
	if o := h.object("services", "connect"); o.State != local.Done || !strings.Contains(o.Detail, "4 backends") {
		t.Errorf("status: %+v", o)
	}
	h.configure(backends())
	want("no backends", strings.ReplaceAll(strings.ReplaceAll(two, "[[2001:db8:1::1]:53 [2001:db8:1::2]:53] 90 done", "[] 90 doneit has no endpoints"),
		"[[2001:db8:1::1]:8080 [2001:db8:1::2]:8080] 90 done", "[] 90 doneit has no endpoints"))
	h.configure(backends("2001:db8:1::1", "2001:db8:1::2"))
	want("two backends again", two)
	if err := h.stop(); err != nil {
		t.Fatal(err)
	}
	changes := strings.Count(h.log.String(), "part=services change=")
	h.start()
	want("after a restart", two)
	if strings.Count(h.log.String(), "part=services change=") != changes {
		t.Errorf("the restart changed what was there:\n%s", h.log)
	}
	h.configure(plan)
	want("no service", "")
}
