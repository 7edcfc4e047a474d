package scenario

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"hexapod.dev/lab"
	"hexapod.dev/lab/probe"
)

// commands are those that this package adds to the language.
var commands = map[string]command{
	"lab":      {"up [--racks R] [--hosts H] [--endpoints E] [--cables N] [--tors N] [--router KIND] [--bare] [--open] | check | converge | down", 1, false, doLab},
	"host":     {"add|destroy r1h3", 2, true, doHost},
	"agent":    {"kill|start|upgrade|hang|resume HOST", 2, true, doAgent},
	"endpoint": {"add [--ip ADDRESS] NAME [NAMESPACE KEY=VALUE ...] | del NAME | again NAME", 2, true, doEndpoint},
	"link":     {"down|up MACHINE LINK", 3, true, doLink},
	"ping":     {"FROM TO [-c N] [-i INTERVAL] | start FROM TO [-i INTERVAL] | stop", 1, true, doPing},
	"http":     {"FROM TO", 2, true, doHTTP},
	"addr":     {"NAME VARIABLE", 2, true, doAddr},
	"in":       {"WHERE COMMAND [ARGUMENT ...]", 2, true, doIn},
	"until":    {"[!] WHERE COMMAND [ARGUMENT ...]", 2, true, doUntil},
	"internet": {"[--by PREFIX]", 0, true, doInternet},
	"pref64":   {"TOR [PREFIX ...]", 1, true, doPref64},
	"publish":  {"NAME", 1, true, doPublish},
	"config":   {"FILE [NAME]", 1, true, doConfig},
	"serve":    {"NAME PORT | stop NAME", 2, true, doServe},
}

var errVerb = errors.New("no such verb")

func doLab(s *session, ts *testscript.TestScript, args []string) error {
	switch args[0] {
	case "up":
		return s.up(args[1:])
	case "down":
		if s.lab == nil {
			return lab.Down(s.ctx, s.name)
		}
		return s.down()
	case "check", "converge":
		if s.lab == nil {
			return fmt.Errorf("lab %s %w", s.name, lab.ErrNotUp)
		}
		if args[0] == "converge" {
			return s.lab.Converge(s.ctx)
		}
		r, err := s.lab.Check(s.ctx, nil)
		if err != nil {
			return err
		}
		fmt.Fprintln(ts.Stdout(), r)
		return r.Err()
	}
	return fmt.Errorf("lab %s: %w", args[0], errVerb)
}

func (s *session) up(args []string) error {
	o := lab.Options{Name: s.name, Bin: s.options.Bin, Report: s.options.Report}
	f := flag.NewFlagSet("lab up", flag.ContinueOnError)
	f.SetOutput(io.Discard)
	f.IntVar(&o.Size.Racks, "racks", 2, "")
	f.IntVar(&o.Size.Hosts, "hosts", 2, "")
	f.IntVar(&o.Size.Endpoints, "endpoints", 1, "")
	f.IntVar(&o.Size.Cables, "cables", 1, "")
	f.IntVar(&o.Size.TorsEach, "tors", 1, "")
	f.StringVar((*string)(&o.Router), "router", string(s.options.Router), "")
	f.BoolVar(&o.Bare, "bare", false, "")
	f.BoolVar(&o.Open, "open", false, "")
	if err := f.Parse(args); err != nil {
		return err
	}
	l, err := lab.Up(s.ctx, o)
	if err != nil {
		return errors.Join(err, lab.Down(s.ctx, s.name))
	}
	s.lab = l
	return nil
}

func doHost(s *session, _ *testscript.TestScript, args []string) error {
	switch args[0] {
	case "add":
		return s.lab.AddHost(s.ctx, args[1])
	case "destroy":
		return s.lab.DestroyHost(args[1])
	}
	return fmt.Errorf("host %s: %w", args[0], errVerb)
}

func doAgent(s *session, _ *testscript.TestScript, args []string) error {
	switch args[0] {
	case "kill":
		return s.lab.KillAgent(args[1])
	case "start":
		return s.lab.StartAgent(s.ctx, args[1])
	case "upgrade":
		return s.lab.UpgradeAgent(s.ctx, args[1])
	case "hang", "resume":
		return s.lab.HangAgent(args[1], args[0] == "hang")
	}
	return fmt.Errorf("agent %s: %w", args[0], errVerb)
}

func doEndpoint(s *session, ts *testscript.TestScript, args []string) error {
	var fixed netip.Addr
	if args[0] == "add" && args[1] == "--ip" {
		if len(args) < 4 {
			return errors.New("endpoint add --ip: want ADDRESS and NAME")
		}
		var err error
		if fixed, err = netip.ParseAddr(args[2]); err != nil {
			return fmt.Errorf("endpoint add: %w", err)
		}
		args = append([]string{"add"}, args[3:]...)
	}
	name := args[1]
	switch args[0] {
	case "add":
		host, _, _ := strings.Cut(name, "-")
		e := lab.Endpoint{Name: name, Host: host, Labels: map[string]string{}, Fixed: fixed}
		if len(args) > 2 {
			e.Namespace = args[2]
		}
		for _, kv := range args[min(len(args), 3):] {
			k, v, ok := strings.Cut(kv, "=")
			if !ok {
				return fmt.Errorf("endpoint add: label %q: want KEY=VALUE", kv)
			}
			e.Labels[k] = v
		}
		e, err := s.lab.AddEndpoint(s.ctx, e)
		if err == nil {
			fmt.Fprintln(ts.Stdout(), e.Addr)
		}
		return err
	case "del":
		return s.lab.DeleteEndpoint(s.ctx, name)
	case "again":
		addr, err := s.lab.Readd(s.ctx, name)
		if err == nil && addr != s.lab.Addr(name) {
			err = fmt.Errorf("endpoint %s: ADD again gave %s, and the endpoint has %s", name, addr, s.lab.Addr(name))
		}
		return err
	}
	return fmt.Errorf("endpoint %s: %w", args[0], errVerb)
}

func doLink(s *session, _ *testscript.TestScript, args []string) error {
	if args[0] != "up" && args[0] != "down" {
		return fmt.Errorf("link %s: %w", args[0], errVerb)
	}
	return s.lab.SetLink(args[1], args[2], args[0] == "up")
}

func doPing(s *session, ts *testscript.TestScript, args []string) error {
	switch args[0] {
	case "start":
		return s.startPing(args[1:])
	case "stop":
		return s.stopPing(ts)
	}
	stream, pinger, err := s.ping(args)
	if err != nil {
		return err
	}
	defer pinger.Close()
	if stream.Count == 0 {
		stream.Count = 3
	}
	t, err := stream.Run(s.ctx, pinger)
	return verdict(ts, t, err)
}

// ping reads FROM TO and flags.
func (s *session) ping(args []string) (probe.Stream, *probe.Pinger, error) {
	if len(args) < 2 {
		return probe.Stream{}, nil, errors.New("ping: want FROM and TO")
	}
	stream := probe.Stream{Patience: pingPatience}
	f := flag.NewFlagSet("ping", flag.ContinueOnError)
	f.SetOutput(io.Discard)
	f.IntVar(&stream.Count, "c", 0, "")
	f.DurationVar(&stream.Interval, "i", 10*time.Millisecond, "")
	if err := f.Parse(args[2:]); err != nil {
		return stream, nil, err
	}
	in, err := s.lab.Inside(args[0])
	if err != nil {
		return stream, nil, err
	}
	if stream.Dst = s.lab.Addr(args[1]); !stream.Dst.IsValid() {
		if stream.Dst, err = netip.ParseAddr(args[1]); err != nil {
			return stream, nil, fmt.Errorf("ping: %q is no name of the lab and no address", args[1])
		}
	}
	pinger, err := probe.NewPinger(in)
	return stream, pinger, err
}

func (s *session) startPing(args []string) error {
	if s.stream != nil {
		return errors.New("ping start: one is running; ping stop ends it")
	}
	stream, pinger, err := s.ping(args)
	if err != nil {
		return err
	}
	// The first answer comes before the script goes on, so that what happens next happens under a running ping.
	first := make(chan struct{}, 1)
	stream.Each = func(probe.Reply) {
		select {
		case first <- struct{}{}:
		default:
		}
	}
	ctx, cancel := context.WithCancel(s.ctx)
	b := &background{stop: cancel, done: make(chan struct{})}
	go func() {
		defer close(b.done)
		b.tally, b.err = stream.Run(ctx, pinger)
		b.err = errors.Join(b.err, pinger.Close())
	}()
	s.stream = b
	select {
	case <-first:
		return nil
	case <-b.done:
		return b.err
	case <-time.After(stream.Patience):
		return fmt.Errorf("ping start: %w within %v", probe.ErrLost, stream.Patience)
	}
}

func (s *session) stopPing(ts *testscript.TestScript) error {
	if s.stream == nil {
		return errors.New("ping stop: none is running")
	}
	b := s.stream
	s.stream = nil
	b.stop()
	<-b.done
	return verdict(ts, b.tally, b.err)
}

func verdict(ts *testscript.TestScript, t probe.Tally, err error) error {
	fmt.Fprintln(ts.Stdout(), t)
	if err == nil && t.Lost > 0 {
		err = fmt.Errorf("ping: %d of %d lost", t.Lost, t.Sent)
	}
	return err
}

func doHTTP(s *session, ts *testscript.TestScript, args []string) error {
	a, err := s.lab.HTTP(s.ctx, args[0], args[1])
	if err == nil {
		fmt.Fprintf(ts.Stdout(), "%s saw %s\n", a.Name, a.Client)
	}
	return err
}

func doAddr(s *session, ts *testscript.TestScript, args []string) error {
	a := s.lab.Addr(args[0])
	if !a.IsValid() {
		return fmt.Errorf("addr %s: no such name in the lab; it has %v and endpoints", args[0], s.lab.Machines())
	}
	fmt.Fprintln(ts.Stdout(), a)
	ts.Setenv(args[1], a.String())
	return nil
}

func doIn(s *session, ts *testscript.TestScript, args []string) error {
	return s.lab.Exec(args[0], args[1:], lab.Streams{Out: ts.Stdout(), Err: ts.Stderr()})
}

// pingPatience is for the last answers of a ping. The fabric needs well under a millisecond; the rest is for a busy machine.
const pingPatience = 5 * time.Second

// Distances and bound of `until`.
const (
	untilAgain    = 50 * time.Millisecond
	untilPatience = 60 * time.Second
)

// doUntil runs a command until it succeeds, or until it fails where it was asked for that.
func doUntil(s *session, ts *testscript.TestScript, args []string) error {
	fails := args[0] == "!"
	if fails {
		args = args[1:]
	}
	if len(args) < 2 {
		return errors.New("until: want WHERE and COMMAND")
	}
	ctx, cancel := context.WithTimeout(s.ctx, untilPatience)
	defer cancel()
	again := time.NewTicker(untilAgain)
	defer again.Stop()
	for {
		var out, said bytes.Buffer
		err := s.lab.Exec(args[0], args[1:], lab.Streams{Out: &out, Err: &said})
		if (err != nil) == fails {
			_, err := out.WriteTo(ts.Stdout())
			return err
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			return fmt.Errorf("until %q: not so after %v: %w\n%s%s", args, untilPatience, err, out.String(), said.String())
		}
	}
}

// doInternet adds an IPv4 Internet, which the hosts translate to.
func doInternet(s *session, _ *testscript.TestScript, args []string) error {
	if len(args) == 0 {
		return s.lab.AddInternet(s.ctx)
	}
	if len(args) != 2 || args[0] != "--by" {
		return errors.New("internet: want nothing, or --by and the prefix of a NAT64 at the outside")
	}
	by, err := netip.ParsePrefix(args[1])
	if err != nil {
		return err
	}
	return s.lab.AddProvider(s.ctx, by)
}

// doPref64 has a ToR tell prefixes of a NAT64 to its hosts, and that others are over.
func doPref64(s *session, _ *testscript.TestScript, args []string) error {
	var list []netip.Prefix
	for _, text := range args[1:] {
		p, err := netip.ParsePrefix(text)
		if err != nil {
			return err
		}
		list = append(list, p)
	}
	return s.lab.TellPref64(args[0], list)
}

// doPublish opens the HTTP port of an endpoint, and of all that are like it, to the outside.
func doPublish(s *session, ts *testscript.TestScript, args []string) error {
	names, _, err := s.lab.Publish(s.ctx, args[0])
	if err == nil {
		fmt.Fprintln(ts.Stdout(), strings.Join(names, " "))
	}
	return err
}

// doConfig gives a file of the script to all agents, under its own name or another. ${VARIABLES} in it are replaced.
func doConfig(s *session, ts *testscript.TestScript, args []string) error {
	name := args[len(args)-1]
	return s.lab.Configure(name, []byte(os.Expand(ts.ReadFile(args[0]), ts.Getenv)))
}
