package child

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Times of a keeper.
const (
	againFirst = 50 * time.Millisecond // until a child that ended is started again; doubles while it ends soon
	againLast  = 5 * time.Second
	longLife   = time.Minute // a child that lived so long has done well
)

// Keeper keeps one child alive.
type Keeper struct {
	Spec
	Log *slog.Logger
	// Open opens what a new child works with. had is what the child before it left, if it could be asked; what Open does not return of
	// it is closed. The files it returns are closed when the child has them.
	Open func(had []Named) ([]Named, error)
	// Begun is called when a child runs, a new one or one that was found: it tells the child what is wanted. A child that it fails
	// for is asked again a little later.
	Begun func(context.Context) error

	mu      sync.Mutex
	starts  int
	pid     int
	problem error
}

// State is how a child does.
type State struct {
	PID    int   // 0: none runs
	Starts int   // by this keeper
	Err    error // why none runs, or why it does not do what is wanted
}

// State returns how the child does.
func (k *Keeper) State() State {
	k.mu.Lock()
	defer k.mu.Unlock()
	return State{k.pid, k.starts, k.problem}
}

func (k *Keeper) set(pid int, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if err != nil && (k.problem == nil || k.problem.Error() != err.Error()) {
		k.Log.Error("a child does not do its work, trying again", "child", k.Name, "error", err)
	}
	k.pid, k.problem = pid, err
}

// Run finds the child or starts it, and starts it again when it ends, until ctx ends. The child goes on then.
func (k *Keeper) Run(ctx context.Context) error {
	for again := againFirst; ctx.Err() == nil; again = min(2*again, againLast) {
		begun := time.Now()
		err := k.once(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if time.Since(begun) > longLife {
			again = againFirst
		}
		if err == nil {
			err = fmt.Errorf("child %s ended", k.Name)
		}
		k.set(0, err)
		rest(ctx, again)
	}
	return nil
}

// once has a child and watches it to its end.
func (k *Keeper) once(ctx context.Context) error {
	watch, pid, err := k.find()
	if errors.Is(err, ErrNone) {
		watch, pid, err = k.begin(ctx)
	}
	if err != nil {
		return err
	}
	defer watch.Close()
	end := context.AfterFunc(ctx, func() { watch.Close() })
	defer end()
	ended := make(chan struct{})
	go func() { // it never sends anything: the read returns when the process is gone
		defer close(ended)
		_, _ = watch.Read(make([]byte, 1))
	}()
	k.set(pid, nil)
	for again := againFirst; ; again = min(2*again, againLast) {
		err := k.Begun(ctx)
		k.set(pid, err)
		if err == nil {
			<-ended
			return nil
		}
		select {
		case <-ended:
			return nil
		case <-time.After(again):
		}
	}
}

// find connects to the child that runs, if it is of this same build. One of another build is asked to leave, and its successor started.
func (k *Keeper) find() (*net.UnixConn, int, error) {
	c, err := k.dial()
	if err != nil {
		return nil, 0, err
	}
	pid, same, err := k.peer(c)
	if err == nil && same {
		err = k.hello(c)
	}
	switch {
	case err == nil && same:
		k.Log.Info("found a child at work", "child", k.Name, "pid", pid)
		return c, pid, nil
	case err == nil:
		c.Close()
		k.Log.Info("a child of another build is replaced", "child", k.Name, "pid", pid)
		had, state, err := k.leave()
		if err != nil {
			k.Log.Error("the child is ended without what it had", "child", k.Name, "pid", pid, "error", err)
			return nil, 0, errors.Join(unix.Kill(pid, unix.SIGKILL), err)
		}
		return k.replace(had, state)
	}
	c.Close()
	// It listens and does not answer: it hangs, or is not ours. Its process is what the kernel says holds the socket.
	k.Log.Error("the child hangs and is ended", "child", k.Name, "pid", pid, "error", err)
	if pid > 1 {
		err = errors.Join(err, unix.Kill(pid, unix.SIGKILL))
	}
	return nil, 0, err
}

// hello asks whether it answers at all.
func (k *Keeper) hello(c *net.UnixConn) error {
	if err := c.SetDeadline(time.Now().Add(callTime)); err != nil {
		return err
	}
	if err := send(c, question{Method: methodWatch}, nil, nil); err != nil {
		return err
	}
	files, err := receive(c, &answer{})
	closeAll(files)
	return errors.Join(err, c.SetDeadline(time.Time{}))
}

// begin starts the first child.
func (k *Keeper) begin(context.Context) (*net.UnixConn, int, error) { return k.replace(nil, nil) }

// replace starts a child with what the one before it had.
func (k *Keeper) replace(had []Named, state []byte) (*net.UnixConn, int, error) {
	files, err := k.Open(had)
	defer func() {
		for _, f := range append(had, files...) {
			f.File.Close() // a second time does no harm
		}
	}()
	if err != nil {
		return nil, 0, err
	}
	cmd, err := k.start(files, state, k.Log)
	if err != nil {
		return nil, 0, err
	}
	go wait(cmd)
	k.mu.Lock()
	k.starts++
	k.mu.Unlock()
	c, err := k.dial()
	if err == nil {
		err = k.hello(c)
	}
	if err != nil {
		return nil, 0, fmt.Errorf("child %s does not come up (its own words are in this log): %w", k.Name, err)
	}
	return c, cmd.Process.Pid, nil
}

// wait takes the exit code, so that no zombie stays while this agent lives.
func wait(cmd *exec.Cmd) { _ = cmd.Wait() }

// End asks the child that runs to end, for good: nothing is wanted of it any more. That there is none is no error.
func (s Spec) End() error {
	files, _, err := s.leave()
	for _, f := range files {
		f.File.Close()
	}
	if errors.Is(err, ErrNone) {
		return nil
	}
	return err
}

// peer reports which process listens at the other end of c, and whether it runs the same file as this one. The child listens a second
// time when it begins, so the kernel names it and not the agent that made the socket (unix(7), SO_PEERCRED).
func (s Spec) peer(c *net.UnixConn) (pid int, same bool, err error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return 0, false, err
	}
	var cred *unix.Ucred
	if cerr := raw.Control(func(fd uintptr) { cred, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) }); cerr != nil || err != nil {
		return 0, false, errors.Join(cerr, err)
	}
	if cred.Uid != s.User {
		return 0, false, fmt.Errorf("user %d listens on its socket, want %d", cred.Uid, s.User)
	}
	mine, err := os.Stat("/proc/self/exe")
	if err != nil {
		return 0, false, err
	}
	theirs, err := os.Stat(fmt.Sprintf("/proc/%d/exe", cred.Pid))
	// Without a sight of the process (another PID namespace) it counts as another build.
	return int(cred.Pid), err == nil && os.SameFile(mine, theirs), nil
}

func rest(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
