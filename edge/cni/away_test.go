package cni_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"hexapod.dev/edge/cni"
	"hexapod.dev/edge/cni/wire"
	"hexapod.dev/model/desired"
)

// config is a network configuration that looks for an agent for waitMillis.
func (f folders) config(waitMillis int, more string) []byte {
	return fmt.Appendf(nil, `{"cniVersion":"1.1.0","name":"hexapod","type":"hexapod-cni","runDir":%q,"stateDir":%q,"agentWaitMillis":%d%s}`,
		f.run, f.state, waitMillis, more)
}

func TestNoAgent(t *testing.T) {
	f := newFolders(t)
	config := f.config(30, "")
	for _, command := range []string{"ADD", "CHECK", "GC"} {
		got := execute(t, command, "c", "eth0", "/run/netns/x", "", config)
		if code := codeIn(t, got.stdout); code != 11 || !strings.Contains(got.stdout, f.run+"/cni.sock") {
			t.Errorf("%s without an agent: code %d, want 11 and the socket's path: %s", command, code, got.stdout)
		}
	}
	if code := codeIn(t, execute(t, "STATUS", "", "", "", "", config).stdout); code != 50 {
		t.Errorf("STATUS where an agent never was: code %d, want 50", code)
	}
	got := execute(t, "VERSION", "", "", "", "", []byte(`{"cniVersion":"0.4.0"}`))
	if want := `{"cniVersion":"0.4.0","supportedVersions":["0.4.0","1.0.0","1.1.0"]}` + "\n"; got != (execution{want, 0}) {
		t.Errorf("VERSION: %+v, want %s", got, want)
	}
}

func TestDelLeavesTombstone(t *testing.T) {
	f, backend := newFolders(t), &fake{}
	key := desired.EndpointKey{Container: "c", Interface: "eth0"}
	// A namespace that is gone, a state folder that was never made.
	f.state = filepath.Join(f.state, "deep", "down")
	for range 2 {
		if got := execute(t, "DEL", "c", "eth0", "/run/netns/gone", "", f.config(30, "")); got != (execution{}) {
			t.Fatalf("DEL without an agent: %+v, want success without words", got)
		}
	}
	graves := cni.Tombstones(filepath.Join(f.state, "tombstones"))
	list, err := graves.List()
	if diff := cmp.Diff([]cni.Tombstone{{Key: key, NetNS: "/run/netns/gone"}}, list); diff != "" || err != nil {
		t.Errorf("tombstones: %v (-want +got):\n%s", err, diff)
	}
	backend.Add(t.Context(), cni.Request{Key: key})
	f.serve(t, backend)
	if list, err := graves.List(); len(list) != 0 || err != nil {
		t.Errorf("tombstones after the agent came back: %v, %v, want none", list, err)
	}
	if diff := cmp.Diff([]desired.EndpointKey{key}, backend.dels); diff != "" || len(backend.keys()) != 0 {
		t.Errorf("deletes carried out (-want +got):\n%s\nliving: %v", diff, backend.keys())
	}
	if entries, err := os.ReadDir(string(graves)); len(entries) != 0 {
		t.Errorf("left in %s: %v, %v", graves, entries, err)
	}
}

// A tombstone that is written while the agent starts must not hit an endpoint that is added afterwards.
func TestTombstoneComesBeforeAdd(t *testing.T) {
	f, backend := newFolders(t), &fake{}
	f.serve(t, backend)
	folder := filepath.Join(f.state, "tombstones")
	if err := os.MkdirAll(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	grave := wire.Tombstone{Container: "c", Interface: "eth0", NetNS: "/run/netns/old"}
	path := filepath.Join(folder, grave.FileName())
	if err := os.WriteFile(path, grave.Append(nil), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := execute(t, "ADD", "c", "eth0", "/run/netns/x", "", f.config(5000, "")); got.exit != 0 {
		t.Fatalf("ADD: %+v", got)
	}
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the tombstone outlived the ADD: %v", err)
	}
	if len(backend.dels) != 1 || len(backend.keys()) != 1 {
		t.Errorf("deletes %v, living %v, want one of each", backend.dels, backend.keys())
	}
}

func TestBrokenTombstonesStay(t *testing.T) {
	folder := t.TempDir()
	for name, content := range map[string]string{
		"c:eth0.json":     `{"container":"c","interface":"eth0","netns":""}`,
		"cut:eth0.json":   `{"container":"cut","inter`,
		"other:eth0.json": `{"container":"c2","interface":"eth0"}`,
		"up:eth0.json":    `{"container":"../up","interface":"eth0"}`,
		".draft:eth0.1":   ``,
	} {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	list, err := cni.Tombstones(folder).List()
	if diff := cmp.Diff([]cni.Tombstone{{Key: desired.EndpointKey{Container: "c", Interface: "eth0"}}}, list); diff != "" {
		t.Errorf("tombstones (-want +got):\n%s", diff)
	}
	for _, name := range []string{"cut:eth0.json", "other:eth0.json", "up:eth0.json"} {
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("the error does not name %s: %v", name, err)
		}
	}
}

func TestTombstoneThatCannotBeWritten(t *testing.T) {
	f := newFolders(t)
	if err := os.WriteFile(filepath.Join(f.state, "tombstones"), nil, 0o600); err != nil { // a file where the folder should be
		t.Fatal(err)
	}
	got := execute(t, "DEL", "c", "eth0", "", "", f.config(30, ""))
	if code := codeIn(t, got.stdout); code != 5 || got.exit == 0 || !strings.Contains(got.stdout, "tombstones") {
		t.Errorf("DEL: %+v (code %d), want a loud code 5", got, code)
	}
	if got := execute(t, "DEL", "../../c", "eth0", "", "", f.config(30, "")); codeIn(t, got.stdout) != 4 {
		t.Errorf("DEL of a container that would leave the folder: %+v, want code 4", got)
	}
}

// peer is an agent that misbehaves: handle gets every connection, one after the other.
func (f folders) peer(t *testing.T, handle func(net.Conn)) {
	t.Helper()
	listener, err := net.Listen("unix", filepath.Join(f.run, "cni.sock"))
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			handle(conn)
		}
	}()
	t.Cleanup(func() { listener.Close(); <-done })
}

func TestAgentAnswersGarbage(t *testing.T) {
	for _, garbage := range []string{
		"", "\n", "hello\n", "{}\n", `{"exit":0,"stdout":{"a":1}`, `{"exit":2,"stdout":{}}` + "\n", `{"exit":1,"stdout":null}` + "\n",
		`{"exit":0,"stdout":{]}` + "\n", `{"exit":0,"stdout":"` + "\xff" + `"}` + "\n", strings.Repeat("x", 2<<20) + "\n",
	} {
		f := newFolders(t)
		f.peer(t, func(conn net.Conn) {
			conn.Read(make([]byte, 1<<16))
			conn.Write([]byte(garbage))
			conn.Close()
		})
		got := execute(t, "ADD", "c", "eth0", "/run/netns/x", "", f.config(30, ""))
		if code := codeIn(t, got.stdout); code != 11 || got.exit != 1 {
			t.Errorf("ADD answered with %.40q: %+v, want code 11", garbage, got)
		}
		if got := execute(t, "DEL", "c", "eth0", "/run/netns/x", "", f.config(30, "")); got != (execution{}) {
			t.Errorf("DEL answered with %.40q: %+v, want success and a tombstone", garbage, got)
		}
		if list, err := cni.Tombstones(filepath.Join(f.state, "tombstones")).List(); len(list) != 1 || err != nil {
			t.Errorf("DEL answered with %.40q left %v, %v", garbage, list, err)
		}
	}
}

func TestAgentDoesNotAnswer(t *testing.T) {
	f := newFolders(t)
	var held []net.Conn
	f.peer(t, func(conn net.Conn) { held = append(held, conn) })
	got := execute(t, "ADD", "c", "eth0", "/run/netns/x", "", f.config(30, ""))
	if code := codeIn(t, got.stdout); code != 11 || !strings.Contains(got.stdout, "did not answer in time") {
		t.Errorf("ADD: %+v, want code 11", got)
	}
	if got := execute(t, "DEL", "c", "eth0", "", "", f.config(30, "")); got != (execution{}) {
		t.Errorf("DEL: %+v, want success and a tombstone", got)
	}
	if code := codeIn(t, execute(t, "STATUS", "", "", "", "", f.config(30, "")).stdout); code != 50 {
		t.Errorf("STATUS: code %d, want 50", code)
	}
}

// The agent dies with a request in its hands and comes back: the plugin asks again and gets the same address.
func TestAgentDiesDuringAdd(t *testing.T) {
	f := newFolders(t)
	backend := &fake{}
	backend.Add(t.Context(), cni.Request{Key: desired.EndpointKey{Container: "c", Interface: "eth0"}, NetNS: "/run/netns/x"}) // done, not answered
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(f.run, "cni.sock"), Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	got := make(chan execution, 1)
	go func() { got <- execute(t, "ADD", "c", "eth0", "/run/netns/x", "", f.config(20_000, "")) }()
	conn, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	conn.Read(make([]byte, 1<<16))
	listener.SetUnlinkOnClose(false) // as after kill -9
	listener.Close()
	conn.Close()
	f.serve(t, backend)
	if g := <-got; g.exit != 0 || !strings.Contains(g.stdout, "2001:db8::100:1/128") {
		t.Errorf("ADD: %+v, want the first address", g)
	}
}

// A caller that is gone does not keep the backend busy.
func TestCallerGoesAway(t *testing.T) {
	f := newFolders(t)
	entered, ended := make(chan struct{}), make(chan error, 1)
	backend := &fake{add: func(ctx context.Context) error {
		close(entered)
		<-ctx.Done()
		ended <- ctx.Err()
		return ctx.Err()
	}}
	f.serve(t, backend)
	conn, err := net.Dial("unix", filepath.Join(f.run, "cni.sock"))
	if err != nil {
		t.Fatal(err)
	}
	line := wire.Request{Command: "ADD", ContainerID: "c", IfName: "eth0", NetNS: "/run/netns/x", Config: f.config(30, "")}
	conn.Write(line.Append(nil))
	<-entered
	conn.Close()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("the backend's context ended with %v, want %v", err, context.Canceled)
	}
}

func TestStatusWhileAgentRestarts(t *testing.T) {
	f := newFolders(t)
	f.serve(t, &fake{})()
	alive := filepath.Join(f.run, "alive")
	status := func(restartMillis int) int {
		got := execute(t, "STATUS", "", "", "", "", f.config(30, fmt.Sprintf(`,"restartMillis":%d`, restartMillis)))
		if got.exit == 0 {
			return 0
		}
		return codeIn(t, got.stdout)
	}
	if code := status(3_600_000); code != 0 {
		t.Errorf("just after the agent stopped: code %d, want success", code)
	}
	now := wire.Now()
	for name, c := range map[string]struct {
		beat    wire.Beat
		restart int // milliseconds
		code    int
	}{
		"in time":      {now, 3_600_000, 0},
		"too long ago": {wire.Beat{Boot: now.Boot, Millis: now.Millis - 2}, 1, 50},
		"other boot":   {wire.Beat{Boot: "00000000-0000-0000-0000-000000000000", Millis: now.Millis}, 3_600_000, 50},
		"to come":      {wire.Beat{Boot: now.Boot, Millis: now.Millis + 3_600_000}, 3_600_000, 50},
	} {
		if err := os.WriteFile(alive, c.beat.Append(nil), 0o644); err != nil {
			t.Fatal(err)
		}
		if code := status(c.restart); code != c.code {
			t.Errorf("last alive %s: code %d, want %d", name, code, c.code)
		}
	}
	if err := os.WriteFile(alive, now.Append(nil), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(f.state, "journal")); err != nil {
		t.Fatal(err)
	}
	if code := status(3_600_000); code != 50 {
		t.Errorf("without the record: code %d, want 50", code)
	}
}

// An agent that could not serve before it went away is not made good by its absence, and one that was cleaned up neither.
func TestStatusAfterBadStatus(t *testing.T) {
	f := newFolders(t)
	if err := os.WriteFile(filepath.Join(f.run, "alive"), wire.Now().Append(nil), 0o644); err != nil {
		t.Fatal(err)
	}
	f.serve(t, &fake{status: errors.New("no prefix left")})()
	if code := codeIn(t, execute(t, "STATUS", "", "", "", "", f.config(30, "")).stdout); code != 50 {
		t.Errorf("code %d, want 50", code)
	}
}
