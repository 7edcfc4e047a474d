package child

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"hexapod.dev/linux/netns/netnstest"
)

// asChild makes the test program a child instead.
const asChild = "HEXAPOD_CHILD_TEST"

func TestMain(m *testing.M) {
	if os.Getenv(asChild) == "" {
		os.Exit(m.Run())
	}
	if err := beChild(); err != nil {
		fmt.Fprintln(os.Stderr, "child:", err)
		os.Exit(1)
	}
}

// beChild counts calls, tells what it may do, and echoes on a socket it was given.
func beChild() error {
	self, err := Begin()
	if err != nil {
		return err
	}
	var mu sync.Mutex
	count := len(self.State())
	if f := self.File("echo"); f != nil {
		l, err := net.FileListener(f)
		if err != nil {
			return err
		}
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				go func() { defer c.Close(); _, _ = io.Copy(c, c) }()
			}
		}()
	}
	return self.Serve(context.Background(), Service{
		Call: func(_ context.Context, r Request) (any, error) {
			mu.Lock()
			defer mu.Unlock()
			switch r.Method {
			case "count":
				count++
				return count, nil
			case "rights":
				return rights(), nil
			case "files":
				return nil, limitFiles(r.Body)
			case "read":
				b, err := io.ReadAll(r.Files[0])
				return string(b), err
			}
			return nil, fmt.Errorf("no method %q", r.Method)
		},
		Leave: func() ([]byte, error) { return make([]byte, count), nil },
	})
}

// rights tells what the child could do that it must not be able to.
func rights() (list []string) {
	status, err := os.Open("/proc/self/status")
	if err != nil {
		return []string{err.Error()}
	}
	defer status.Close()
	for s := bufio.NewScanner(status); s.Scan(); {
		name, value, _ := strings.Cut(s.Text(), ":")
		value = strings.TrimSpace(value)
		switch {
		case strings.HasPrefix(name, "Cap") && name != "CapBnd" && strings.Trim(value, "0") != "":
			list = append(list, s.Text())
		case name == "NoNewPrivs" && value != "1", name == "Seccomp" && value != "2", name == "Uid" && strings.HasPrefix(value, "0"):
			list = append(list, s.Text())
		}
	}
	if err := unix.Exec("/bin/true", []string{"true"}, nil); !errors.Is(err, unix.EPERM) {
		list = append(list, fmt.Sprint("execve: ", err))
	}
	if err := unix.Unshare(unix.CLONE_NEWUSER); !errors.Is(err, unix.EPERM) {
		list = append(list, fmt.Sprint("unshare: ", err))
	}
	// Each of these fails without a filter too, and does nothing, but for another reason.
	const clone, x32 = unix.CLONE_NEWUSER | unix.CLONE_FS, 1 << 30
	for _, c := range []struct {
		name      string
		call, arg uintptr
		want      unix.Errno
	}{
		{"clone into a new namespace", unix.SYS_CLONE, clone, unix.EPERM},
		{"clone3", unix.SYS_CLONE3, 0, unix.ENOSYS},
		{"execve by the x32 ABI", x32 + 520, 0, unix.EPERM},
	} {
		if _, _, err := unix.RawSyscall(c.call, c.arg, 0, 0); err != c.want {
			list = append(list, fmt.Sprintf("%s: %v, want %v", c.name, err, c.want))
		}
	}
	return list
}

// limitFiles lets the child open no file whose number is not below the one in body.
func limitFiles(body []byte) error {
	n, err := strconv.ParseUint(string(body), 10, 64)
	if err != nil {
		return err
	}
	return unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: n, Max: 1024})
}

// bed is a keeper and the socket its child echoes on.
type bed struct {
	*Keeper
	echo string
	news chan struct{} // a child runs
}

func newBed(t *testing.T) bed {
	t.Helper()
	netnstest.Root(t)
	return bedOf(t, t.TempDir(), "/proc/self/exe")
}

func bedOf(t *testing.T, dir, program string) bed {
	t.Helper()
	news := make(chan struct{}, 100)
	echo := filepath.Join(dir, "echo.sock")
	k := &Keeper{
		Spec: Spec{Name: "test", RunDir: dir, User: 64999, Program: program, Args: []string{"-test.run=^$"}, Env: []string{asChild + "=1"}},
		Log:  slog.New(slog.NewTextHandler(io.Discard, nil)),
		Open: func(had []Named) ([]Named, error) {
			if had != nil {
				return had, nil
			}
			_ = os.Remove(echo)
			l, err := net.ListenUnix("unix", &net.UnixAddr{Name: echo, Net: "unix"})
			if err != nil {
				return nil, err
			}
			defer l.Close()
			l.SetUnlinkOnClose(false)
			f, err := l.File()
			return []Named{{"echo", f}}, err
		},
		Begun: func(context.Context) error { news <- struct{}{}; return nil },
	}
	t.Cleanup(func() {
		if err := k.End(); err != nil {
			t.Error(err)
		}
	})
	return bed{k, echo, news}
}

// run runs the keeper and returns what ends it, as the end of an agent does.
func (b bed) run(t *testing.T) (end func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- b.Run(ctx) }()
	return func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

// await waits until a child runs that is not the one of pid.
func (b bed) await(t *testing.T, pid int) State {
	t.Helper()
	timeout := time.After(30 * time.Second)
	for {
		select {
		case <-b.news:
			if s := b.State(); s.PID != 0 && s.PID != pid {
				return s
			}
		case <-timeout:
			t.Fatalf("no child: %+v", b.State())
		}
	}
}

func (b bed) count(t *testing.T) (n int) {
	t.Helper()
	if err := b.Call(t.Context(), "count", nil, &n); err != nil {
		t.Fatal(err)
	}
	return n
}

func TestChildHasNoRights(t *testing.T) {
	b := newBed(t)
	defer b.run(t)()
	b.await(t, 0)
	var list []string
	if err := b.Call(t.Context(), "rights", nil, &list); err != nil || len(list) > 0 {
		t.Fatalf("the child may: %q, %v", list, err)
	}
}

func TestChildOutlivesAgent(t *testing.T) {
	b := newBed(t)
	end := b.run(t)
	first := b.await(t, 0)
	b.count(t)
	c, err := net.Dial("unix", b.echo)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	end()
	for _, word := range []string{"one", "two"} { // with no agent, and with the next one
		if _, err := io.WriteString(c, word); err != nil {
			t.Fatal(err)
		}
		if got := make([]byte, len(word)); readAll(c, got) != nil || string(got) != word {
			t.Fatalf("the child says %q, want %q", got, word)
		}
		if word == "one" {
			defer b.run(t)()
			if s := b.await(t, 0); s.PID != first.PID || s.Starts != first.Starts {
				t.Fatalf("the next agent has %+v, want the child of %+v", s, first)
			}
		}
	}
	if n := b.count(t); n != 2 {
		t.Fatalf("it counts %d, want 2", n)
	}
}

func readAll(r io.Reader, b []byte) error { _, err := io.ReadFull(r, b); return err }

func TestChildIsStartedAgain(t *testing.T) {
	b := newBed(t)
	defer b.run(t)()
	first := b.await(t, 0)
	if err := unix.Kill(first.PID, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	b.await(t, first.PID)
	if n := b.count(t); n != 1 {
		t.Fatalf("the new one counts %d, want 1", n)
	}
}

func TestChildHandsOver(t *testing.T) {
	b := newBed(t)
	end := b.run(t)
	first := b.await(t, 0)
	b.count(t)
	b.count(t)
	end()
	had, state, err := b.leave()
	if err != nil || len(had) != 1 || had[0].Name != "echo" || len(state) != 2 {
		t.Fatalf("it leaves %v and %d bytes, %v", had, len(state), err)
	}
	c, _, err := b.replace(had, state)
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	defer b.run(t)()
	if s := b.await(t, 0); s.PID == first.PID {
		t.Fatal("the first one lives")
	}
	if n := b.count(t); n != 3 {
		t.Fatalf("the next one counts %d, want 3", n)
	}
	e, err := net.Dial("unix", b.echo)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	if _, err := io.WriteString(e, "still"); err != nil || readAll(e, make([]byte, 5)) != nil {
		t.Fatal("the socket was not handed over")
	}
}

func TestChildOfAnotherBuildIsReplaced(t *testing.T) {
	b := newBed(t)
	program, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	other := filepath.Join(t.TempDir(), "other")
	if err := os.WriteFile(other, program, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := openUp(other); err != nil {
		t.Fatal(err)
	}
	old := bedOf(t, b.RunDir, other)
	end := old.run(t)
	first := old.await(t, 0)
	b.count(t)
	end()
	defer b.run(t)()
	if s := b.await(t, 0); s.PID == first.PID {
		t.Fatal("the child of the other build still runs")
	}
	if n := b.count(t); n != 2 {
		t.Fatalf("the new one counts %d, want 2", n)
	}
}

// openUp lets other users reach a file in a folder of the test.
func openUp(path string) error {
	var errs []error
	for dir := filepath.Dir(path); dir != os.TempDir() && dir != "/"; dir = filepath.Dir(dir) {
		errs = append(errs, os.Chmod(dir, 0o755))
	}
	return errors.Join(errs...)
}

// Who borrowed the files of a child keeps what comes to them while none runs.
func TestChildLends(t *testing.T) {
	b := newBed(t)
	end := b.run(t)
	first := b.await(t, 0)
	end()
	lent, err := b.Lend(t.Context())
	if err != nil || len(lent) != 1 || lent[0].Name != "echo" {
		t.Fatalf("lent: %v, %v", lent, err)
	}
	defer lent[0].File.Close()
	if n := b.count(t); n != 1 {
		t.Fatalf("the child counts %d, want 1: it should go on", n)
	}
	watch, _, err := b.find()
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Kill(first.PID, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	_, _ = watch.Read(make([]byte, 1)) // until it is gone
	watch.Close()
	c, err := net.Dial("unix", b.echo) // nobody else holds the socket
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := io.WriteString(c, "wait"); err != nil {
		t.Fatal(err)
	}
	watch, _, err = b.replace([]Named{lent[0]}, nil)
	if err != nil {
		t.Fatal(err)
	}
	watch.Close()
	if got := make([]byte, 4); readAll(c, got) != nil || string(got) != "wait" {
		t.Fatalf("what came meanwhile is answered with %q", got)
	}
}

func TestCallGivesFiles(t *testing.T) {
	b := newBed(t)
	defer b.run(t)()
	b.await(t, 0)
	f, err := memory([]byte("through a file"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var got string
	if err := b.Call(t.Context(), "read", nil, &got, f); err != nil || got != "through a file" {
		t.Fatalf("got %q, %v", got, err)
	}
	if err := b.Call(t.Context(), "nonsense", nil, nil); err == nil || !strings.Contains(err.Error(), "no method") {
		t.Fatalf("an error comes back as %v", err)
	}
}

// A child without a free file cannot take a connection. It goes on with its work, and takes it when it can.
func TestChildOutOfFiles(t *testing.T) {
	b := newBed(t)
	defer b.run(t)()
	b.await(t, 0)
	var conns []*net.UnixConn
	for range 2 {
		c, err := b.dial()
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		conns = append(conns, c)
		if len(conns) == 1 {
			mustAsk(t, c, question{Method: "files", Body: []byte("0")}) // what is open stays open
		}
	}
	for range 100 {
		mustAsk(t, conns[0], question{Method: "count"}) // meanwhile the second connection waits
	}
	mustAsk(t, conns[0], question{Method: "files", Body: []byte("1024")})
	mustAsk(t, conns[1], question{Method: "count"})
	if n := b.count(t); n != 102 {
		t.Fatalf("it counts %d, want 102: another child answers", n)
	}
}

func mustAsk(t *testing.T, c *net.UnixConn, q question) {
	t.Helper()
	if err := c.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	var a answer
	err := send(c, q, nil, nil)
	if err == nil {
		_, err = receive(c, &a)
	}
	if err != nil || a.Error != "" {
		t.Fatalf("%s: %v, %s", q.Method, err, a.Error)
	}
}

func TestNoChild(t *testing.T) {
	s := Spec{Name: "none", RunDir: t.TempDir(), User: 1}
	if err := s.Call(t.Context(), "count", nil, nil); !errors.Is(err, ErrNone) {
		t.Fatalf("got %v, want ErrNone", err)
	}
	if err := s.End(); err != nil {
		t.Fatal(err)
	}
}
