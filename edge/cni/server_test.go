package cni_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"hexapod.dev/edge/cni"
	"hexapod.dev/edge/cni/wire"
)

// talk sends bytes to the server and returns what it answers until it closes.
func (f folders) talk(t *testing.T, message string) string {
	t.Helper()
	conn, err := net.Dial("unix", filepath.Join(f.run, "cni.sock"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	io.WriteString(conn, message) // the server may close before it has read what is too long
	conn.(*net.UnixConn).CloseWrite()
	answer, _ := io.ReadAll(conn)
	return string(answer)
}

func TestServerOutlivesBadMessages(t *testing.T) {
	f := newFolders(t)
	f.serve(t, &fake{add: func(context.Context) error { panic("a fault of the backend") }})
	add := wire.Request{Command: "ADD", ContainerID: "c", IfName: "eth0", NetNS: "/n", Config: f.config(30, "")}
	for _, c := range []struct {
		message string
		code    string // in the answer, empty for none
	}{
		{"", ""},
		{"\n", `"code":6`},
		{"hello\n", `"code":6`},
		{"{}\n", `"code":6`},
		{`{"command":"ADD","config":{}}`, `"code":5`}, // no line feed
		{"{\"command\":\"\xff\"}\n", `"code":6`},
		{strings.Repeat("x", wire.MaxLine+1) + "\n", `"code":5`},
		{string(add.Append(nil)), `"code":100`},
	} {
		if got := f.talk(t, c.message); (c.code == "") != (got == "") || !strings.Contains(got, c.code) {
			t.Errorf("%.40q: answered %q, want %s", c.message, got, c.code)
		}
	}
	if got := execute(t, "STATUS", "", "", "", "", f.config(5000, "")); got.exit != 0 {
		t.Errorf("STATUS after all that: %+v", got)
	}
}

func TestOneServerPerSocket(t *testing.T) {
	f := newFolders(t)
	stop := f.serve(t, &fake{})
	second := &cni.Server{RunDir: f.run, StateDir: f.state, Backend: &fake{}, Log: slog.New(slog.DiscardHandler)}
	if err := second.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "another agent") {
		t.Errorf("second server: %v, want a refusal", err)
	}
	if got := execute(t, "STATUS", "", "", "", "", f.config(5000, "")); got.exit != 0 {
		t.Errorf("the first server no longer answers: %+v", got)
	}
	stop()
	socket := filepath.Join(f.run, "cni.sock")
	if _, err := os.Lstat(socket); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket outlived its server: %v", err)
	}
	// What kill -9 leaves is replaced.
	stale, err := net.ListenUnix("unix", &net.UnixAddr{Name: socket, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	stale.SetUnlinkOnClose(false)
	stale.Close()
	f.serve(t, &fake{})()
	// What is no socket is somebody's.
	if err := os.WriteFile(socket, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := second.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "no socket") {
		t.Errorf("server in the place of a file: %v, want a refusal", err)
	}
}

// A request under way when the server stops is finished.
func TestStopLetsRequestsFinish(t *testing.T) {
	f := newFolders(t)
	entered, finish := make(chan struct{}), make(chan struct{})
	backend := &fake{add: func(context.Context) error { close(entered); <-finish; return nil }}
	stop := f.serve(t, backend)
	got := make(chan execution, 1)
	go func() { got <- execute(t, "ADD", "c", "eth0", "/run/netns/x", "", f.config(20_000, "")) }()
	<-entered
	stopped := make(chan struct{})
	go func() { stop(); close(stopped) }()
	close(finish)
	<-stopped
	if g := <-got; g.exit != 0 || !strings.Contains(g.stdout, "2001:db8::100:1/128") {
		t.Errorf("ADD while the server stopped: %+v, want success", g)
	}
}
