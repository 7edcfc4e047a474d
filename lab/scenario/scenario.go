// Package scenario runs scripts against labs: each builds a fabric, does things to it, and says what must hold.
//
// A script is a txtar file in the language of testscript (github.com/rogpeppe/go-internal/testscript: exec, cmp, stdout,
// stderr, env, ! for what must fail, files after the commands) with the commands of this package added; docs/lab.md
// describes them. The lab of a script is taken down when the script ends, and leaving something behind is a failure.
package scenario

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"hexapod.dev/lab"
	"hexapod.dev/lab/probe"
)

// Options say how scripts are run.
type Options struct {
	Bin    string         // folder of hexapod and hexapod-cni; empty: that of the running program
	Name   string         // begins the names of its labs, for runs beside each other in one process; empty: run
	Router lab.RouterKind // of labs whose script does not say; empty: our own
	Report func(string)   // gets a line for every step of a lab; may be nil
}

// Params are the parameters with which testscript.Run or testscript.RunT runs the scripts of this language.
func Params(ctx context.Context, o Options, files ...string) testscript.Params {
	var serial atomic.Int32
	p := testscript.Params{Files: files, Cmds: map[string]func(*testscript.TestScript, bool, []string){}, RequireUniqueNames: true}
	p.Setup = func(env *testscript.Env) error {
		s := &session{ctx: ctx, options: o, name: fmt.Sprintf("%s-%d-%d", cmp.Or(o.Name, "run"), os.Getpid(), serial.Add(1))}
		env.Values[sessionKey{}] = s
		env.Defer(func() {
			if err := s.end(); err != nil {
				env.T().Log(err)
				env.T().FailNow()
			}
		})
		return nil
	}
	for name, c := range commands {
		p.Cmds[name] = c.run(name)
	}
	return p
}

// Run runs scripts one after another and writes their logs to w, those of passed ones only if verbose.
func Run(ctx context.Context, o Options, w io.Writer, verbose bool, files ...string) error {
	for _, f := range files {
		if _, err := os.Stat(f); err != nil {
			return fmt.Errorf("scenario: %w", err)
		}
	}
	r := &runner{w: w, verbose: verbose}
	testscript.RunT(r, Params(ctx, o, files...))
	if r.failed {
		return errors.New("a scenario failed; its log is above")
	}
	return nil
}

type sessionKey struct{}

// session is what one script has.
type session struct {
	ctx     context.Context
	options Options
	name    string
	lab     *lab.Lab
	stream  *background
	servers map[string]*server // by where they are
}

// background is a ping that goes on while the script does.
type background struct {
	stop  context.CancelFunc
	done  chan struct{}
	tally probe.Tally // valid after done
	err   error       // valid after done
}

func (s *session) end() error {
	if s.stream != nil {
		s.stream.stop()
		<-s.stream.done
	}
	var errs []error
	for name := range s.servers {
		errs = append(errs, s.stopServing(name))
	}
	if s.lab == nil {
		return errors.Join(errs...)
	}
	return errors.Join(append(errs, s.down())...)
}

// down takes the lab away, also when the script was interrupted.
func (s *session) down() error {
	err := errors.Join(s.lab.Close(), lab.Down(context.WithoutCancel(s.ctx), s.name))
	s.lab = nil
	left, lerr := lab.Leftovers(s.name)
	if len(left) > 0 {
		lerr = errors.Join(lerr, fmt.Errorf("lab %s left behind:\n%s", s.name, strings.Join(left, "\n")))
	}
	return errors.Join(err, lerr)
}

// command is one command of the language.
type command struct {
	usage  string
	words  int  // least number of arguments
	needed bool // a lab has to be up
	do     func(*session, *testscript.TestScript, []string) error
}

// run makes the form that testscript wants. An error goes to the script's stderr, so that `! ping ...` can look at it.
func (c command) run(name string) func(*testscript.TestScript, bool, []string) {
	return func(ts *testscript.TestScript, neg bool, args []string) {
		s := ts.Value(sessionKey{}).(*session)
		if len(args) < c.words {
			ts.Fatalf("usage: %s %s", name, c.usage)
		}
		if c.needed && s.lab == nil {
			ts.Fatalf("%s: no lab is up; start with: lab up", name)
		}
		start := time.Now()
		err := c.do(s, ts, args)
		if err != nil {
			fmt.Fprintln(ts.Stderr(), err)
		}
		switch {
		case err != nil && !neg:
			ts.Fatalf("%s: failed after %v", name, time.Since(start).Round(time.Millisecond))
		case err == nil && neg:
			ts.Fatalf("%s: succeeded, and should have failed", name)
		}
	}
}

// runner is testscript's idea of a *testing.T outside of go test.
type runner struct {
	w       io.Writer
	verbose bool
	failed  bool
}

// failNow ends the goroutine of a script.
type failNow struct{}

func (r *runner) Parallel()     {}
func (r *runner) Verbose() bool { return r.verbose }
func (r *runner) Log(a ...any)  { fmt.Fprintln(r.w, a...) }
func (r *runner) FailNow()      { r.failed = true; panic(failNow{}) }
func (r *runner) Fatal(a ...any) {
	r.Log(a...)
	r.FailNow()
}
func (r *runner) Skip(a ...any) {
	r.Log(a...)
	panic(failNow{})
}

// Run runs one script to its end.
func (r *runner) Run(name string, fn func(testscript.T)) {
	one := &runner{w: r.w, verbose: r.verbose}
	defer func() {
		if p := recover(); p != nil {
			if _, ours := p.(failNow); !ours {
				panic(p)
			}
		}
		verdict := "ok  "
		if one.failed {
			r.failed, verdict = true, "FAIL"
		}
		fmt.Fprintf(r.w, "%s %s\n", verdict, filepath.Base(name))
	}()
	fn(one)
}
