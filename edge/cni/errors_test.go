package cni_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"hexapod.dev/edge/cni"
	"hexapod.dev/linux/netns/netnstest"
)

// codeIn is the error code in what a plugin printed, 0 if it is no error structure.
func codeIn(t *testing.T, stdout string) int {
	t.Helper()
	var e struct {
		CNIVersion   *string
		Code         int
		Msg, Details string
	}
	if err := json.Unmarshal([]byte(stdout), &e); err != nil {
		t.Fatalf("the plugin printed %q: %v", stdout, err)
	}
	if e.Code != 0 && (e.Msg == "" || e.Details == "" || e.CNIVersion == nil) {
		t.Errorf("the error lacks words or version: %s", stdout)
	}
	return e.Code
}

func TestCNI5_ErrorCodes(t *testing.T) {
	f, backend := newFolders(t), &fake{}
	f.serve(t, backend)
	const ns = "/run/netns/x"
	ours := `"name":"hexapod","type":"hexapod-cni","runDir":"` + f.run + `","stateDir":"` + f.state + `"`
	good := `{"cniVersion":"1.1.0",` + ours + `}`
	with := func(more string) string { return `{"cniVersion":"1.1.0",` + ours + `,` + more + `}` }
	for _, c := range []struct {
		name                      string
		command, container, iface string
		netns, args, config       string
		code                      int
		words                     string // in the answer
	}{
		{"good", "ADD", "c", "eth0", ns, "", good, 0, `"sandbox":"/run/netns/x"`},
		{"version 0.3.1", "ADD", "c", "eth0", ns, "", strings.Replace(good, "1.1.0", "0.3.1", 1), 1, "0.4.0, 1.0.0 and 1.1.0"},
		{"version of the future", "ADD", "c", "eth0", ns, "", strings.Replace(good, "1.1.0", "2.0.0", 1), 1, `is \"2.0.0\"`},
		{"no version", "ADD", "c", "eth0", ns, "", `{` + ours + `}`, 1, "cniVersion"},
		{"ipam", "ADD", "c", "eth0", ns, "", with(`"ipam":{"type":"host-local"}`), 2, "host-local"},
		{"masquerade", "ADD", "c", "eth0", ns, "", with(`"ipMasq":true`), 2, "ipMasq is true"},
		{"command", "ATTACH", "c", "eth0", ns, "", good, 4, "CNI_COMMAND"},
		{"no container", "ADD", "", "eth0", ns, "", good, 4, "CNI_CONTAINERID"},
		{"container with a slash", "ADD", "../c", "eth0", ns, "", good, 4, "CNI_CONTAINERID"},
		{"container too long", "ADD", strings.Repeat("c", 201), "eth0", ns, "", good, 4, "200"},
		{"interface too long", "ADD", "c", "sixteen-letters-", ns, "", good, 4, "CNI_IFNAME"},
		{"interface with a colon", "ADD", "c", "eth0:1", ns, "", good, 4, "CNI_IFNAME"},
		{"no namespace", "ADD", "c", "eth0", "", "", good, 4, "CNI_NETNS"},
		{"relative namespace", "ADD", "c", "eth0", "netns/x", "", good, 4, "CNI_NETNS"},
		{"unknown argument", "ADD", "c", "eth0", ns, "A=b", good, 4, "IgnoreUnknown"},
		{"argument without value", "ADD", "c", "eth0", ns, "IgnoreUnknown", good, 4, "KEY=VALUE"},
		{"cut off", "ADD", "c", "eth0", ns, "", good[:len(good)-3], 6, "too early"},
		{"empty", "ADD", "c", "eth0", ns, "", "", 6, "too early"},
		{"not UTF-8", "ADD", "c", "eth0", ns, "", with(`"x":"` + "\xff" + `"`), 6, "UTF-8"},
		{"an array", "ADD", "c", "eth0", ns, "", "[]", 6, "object"},
		{"no name", "ADD", "c", "eth0", ns, "", `{"cniVersion":"1.1.0","runDir":"` + f.run + `"}`, 7, "name is empty"},
		{"run folder is a number", "ADD", "c", "eth0", ns, "", `{"cniVersion":"1.1.0","runDir":7}`, 7, "runDir"},
		{"wrong capitals", "ADD", "c", "eth0", ns, "", with(`"rundir":"/x"`), 7, "runDir"},
		{"IPv4 asked for", "ADD", "c", "eth0", ns, "", with(`"args":{"cni":{"ips":["192.0.2.1"]}}`), 7, "IPv4"},
		{"labels are a number", "ADD", "c", "eth0", ns, "", with(`"args":{"cni":{"labels":1}}`), 7, "labels"},
		{"prevResult of another version", "ADD", "c", "eth0", ns, "", with(`"prevResult":{"cniVersion":"1.0.0"}`), 7, "prevResult"},
		{"interface is there", "ADD", "c", "eth0", ns, "",
			with(`"prevResult":{"interfaces":[{"name":"eth0","sandbox":"/run/netns/x"}]}`), 7, "made eth0"},
		{"CHECK without prevResult", "CHECK", "c", "eth0", ns, "", good, 7, "prevResult"},
		{"CHECK with an empty one", "CHECK", "c", "eth0", ns, "", with(`"prevResult":{}`), 101, "eth0"},
		{"GC with a hole", "GC", "", "", "", "", with(`"cni.dev/valid-attachments":[{"containerID":"c"}]`), 7, "entry 1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := execute(t, c.command, c.container, c.iface, c.netns, c.args, []byte(c.config))
			if code := codeIn(t, got.stdout); code != c.code || (got.exit == 0) != (c.code == 0) {
				t.Errorf("exit %d, code %d, want code %d: %s", got.exit, code, c.code, got.stdout)
			}
			if !strings.Contains(got.stdout, c.words) {
				t.Errorf("the answer lacks %q: %s", c.words, got.stdout)
			}
		})
	}
	if code := codeIn(t, execute(t, "ADD", "after", "eth0", ns, "", []byte(good)).stdout); code != 0 {
		t.Errorf("a good ADD after all the bad ones: code %d", code)
	}
}

// A DEL succeeds however little is known.
func TestCNI2_DelNeedsLittle(t *testing.T) {
	f, backend := newFolders(t), &fake{}
	f.serve(t, backend)
	for _, config := range []string{
		`{"cniVersion":"0.4.0","name":"hexapod","runDir":"` + f.run + `"}`,
		`{"cniVersion":"1.1.0","name":"hexapod","runDir":"` + f.run + `","prevResult":{}}`,
		// With each of these an ADD fails. The runtime then calls DEL with the same, and goes on doing so until it succeeds.
		`{"cniVersion":"1.1.0","name":"hexapod","runDir":"` + f.run + `","runtimeConfig":{"ips":["192.0.2.1"]}}`,
		`{"cniVersion":"1.1.0","name":"hexapod","runDir":"` + f.run + `","args":{"cni":{"ips":["x"],"labels":1}}}`,
		`{"cniVersion":"1.1.0","name":"hexapod","runDir":"` + f.run + `","ipam":{"type":"host-local"},"ipMasq":true}`,
		`{"cniVersion":"1.1.0","name":"hexapod","runDir":"` + f.run + `","prevResult":{"cniVersion":"1.0.0"}}`,
	} {
		got := execute(t, "DEL", "c", "eth0", "", "no arguments at all", []byte(config))
		if got != (execution{}) {
			t.Errorf("DEL with %s: %+v, want success without words", config, got)
		}
	}
	if len(backend.dels) != 6 {
		t.Errorf("the backend saw %d deletes, want 6", len(backend.dels))
	}
}

func TestLargeConfig(t *testing.T) {
	f := newFolders(t)
	f.serve(t, &fake{})
	head := `{"cniVersion":"1.1.0","name":"hexapod","runDir":"` + f.run + `","x":"`
	const limit = 1 << 20
	for _, c := range []struct{ size, code int }{{limit - 1, 0}, {limit, 0}, {limit + 1, 5}, {4 * limit, 5}} {
		config := head + strings.Repeat("x", c.size-len(head)-2) + `"}`
		got := execute(t, "ADD", "c", "eth0", "/run/netns/x", "", []byte(config))
		if code := codeIn(t, got.stdout); code != c.code {
			t.Errorf("%d bytes: code %d, want %d: %.200s", c.size, code, c.code, got.stdout)
		}
	}
}

func TestStatusCodes(t *testing.T) {
	f, backend := newFolders(t), &fake{}
	f.serve(t, backend)
	config := []byte(`{"cniVersion":"1.1.0","name":"hexapod","runDir":"` + f.run + `","stateDir":"` + f.state + `"}`)
	for _, c := range []struct {
		err  error
		code int
	}{
		{nil, 0},
		{fmt.Errorf("the rack has no prefix left"), 50},
		{cni.Errorf(cni.CodeTryAgain, "clock before the mark"), 50},
		{cni.Errorf(cni.CodeLimited, "no uplink"), 51},
	} {
		backend.mu.Lock()
		backend.status = c.err
		backend.mu.Unlock()
		got := execute(t, "STATUS", "", "", "", "", config)
		code := 0
		if got.exit != 0 {
			code = codeIn(t, got.stdout)
		}
		if code != c.code {
			t.Errorf("status %v: code %d, want %d", c.err, code, c.code)
		}
	}
}

func TestOnlyRootMayCall(t *testing.T) {
	netnstest.Root(t)
	f, backend := newFolders(t), &fake{}
	f.serve(t, backend)
	socket := filepath.Join(f.run, "cni.sock")
	if info, err := os.Stat(socket); err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("socket: %v, %v, want mode 0600", info.Mode(), err)
	}
	// Somebody opens the socket to all; the server still asks who is calling.
	for _, path := range []string{filepath.Dir(f.run), f.run, plugins, socket} {
		if err := os.Chmod(path, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command(filepath.Join(plugins, "hexapod-cni"))
	cmd.Env = []string{"CNI_COMMAND=ADD", "CNI_CONTAINERID=c", "CNI_IFNAME=eth0", "CNI_NETNS=/run/netns/x"}
	cmd.Stdin = strings.NewReader(`{"cniVersion":"1.1.0","name":"hexapod","runDir":"` + f.run + `"}`)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	out, err := cmd.Output()
	if err == nil || codeIn(t, string(out)) != 102 || len(backend.keys()) != 0 {
		t.Errorf("ADD by nobody: %v, %s, living %v, want code 102 and nothing", err, out, backend.keys())
	}
}
