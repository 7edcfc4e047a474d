package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"hexapod.dev/linux/netns"
	"hexapod.dev/test/paired"
)

// sizes of feeds.
var sizes = []int{10_000, 100_000}

// feedTime is the longest that one feed may take.
const feedTime = 2 * time.Minute

// receiver is a router with a neighbour that feeds it.
type receiver struct {
	name   string
	ns     *netns.NS
	sender *netns.NS
	folder string
	idle   int // routes without a feed
}

// start writes what a receiver needs and starts it.
type start func(ctx context.Context, b *bed, r *receiver) error

// feed measures feeds of all sizes, one receiver at a time.
func (b *bed) feed(ctx context.Context, r *report) error {
	var list []*receiver
	for _, kind := range []struct {
		name  string
		begin start
	}{{"hexapod", startHexapod}, {"frr", startFRR}, {"bird", startBIRD}} {
		one, err := b.receiver(ctx, kind.name, kind.begin)
		if err != nil {
			return fmt.Errorf("%s: %w", kind.name, err)
		}
		list = append(list, one)
	}
	for _, n := range sizes {
		for _, one := range list {
			if err := one.load(n); err != nil {
				return err
			}
		}
		for pair := range b.o.feeds + 1 {
			for _, k := range paired.Turns(len(list), pair) {
				for _, verb := range []string{"enable", "disable"} {
					took, err := list[k].fed(ctx, verb, n)
					if err != nil {
						return fmt.Errorf("feed of %d to %s, %s: %w", n, list[k].name, verb, err)
					}
					if pair > 0 {
						kind := map[string]string{"enable": "feed", "disable": "withdrawal"}[verb]
						r.Rounds = append(r.Rounds, round{kind, list[k].name, pair, n, took.Seconds(), 0})
					}
				}
			}
			progress(fmt.Sprintf("feed of %d", n), pair, b.o.feeds)
		}
	}
	return nil
}

const (
	near = "2001:db8:f::1" // the receiver
	far  = "2001:db8:f::2" // BIRD
)

func (b *bed) receiver(ctx context.Context, name string, begin start) (*receiver, error) {
	ns, sender, err := b.uplink()
	if err != nil {
		return nil, err
	}
	r := &receiver{name: name, ns: ns, sender: sender, folder: filepath.Join(b.folder, name)}
	// The daemons of FRR write there as somebody else.
	if err := os.Mkdir(r.folder, 0o777); err != nil {
		return nil, err
	}
	if err := os.Chmod(r.folder, 0o777); err != nil {
		return nil, err
	}
	if err := inside(ns, "ip addr add "+near+"/64 dev up0 nodad"); err != nil {
		return nil, err
	}
	if err := inside(sender, "ip addr add "+far+"/64 dev up1 nodad"); err != nil {
		return nil, err
	}
	if err := r.load(1); err != nil {
		return nil, err
	}
	if err := r.write("sender.conf", `router id 192.0.2.2;
protocol device {}
protocol static feed {
	disabled;
	ipv6;
	include "`+r.folder+`/routes.conf";
}
protocol bgp peer {
	local `+far+` as 65538;
	neighbor `+near+` external;
	graceful restart off;
	connect retry time 1; error wait time 1, 2; connect delay time 1;
	ipv6 { import none; export where source = RTS_STATIC; next hop self; };
}
`); err != nil {
		return nil, err
	}
	if err := b.daemon(ctx, sender, program("bird"), "-f", "-c", r.path("sender.conf"), "-s", r.path("sender.ctl"), "-P", r.path("sender.pid")); err != nil {
		return nil, err
	}
	if err := begin(ctx, b, r); err != nil {
		return nil, err
	}
	if err := r.established(ctx); err != nil {
		return nil, err
	}
	return r, ns.Do(func() (err error) { r.idle, err = counted(); return err })
}

func (r *receiver) path(name string) string { return filepath.Join(r.folder, name) }

func (r *receiver) write(name, text string) error {
	return os.WriteFile(r.path(name), []byte(text), 0o644)
}

// load makes the sender's feed n routes long.
func (r *receiver) load(n int) error {
	err := lines(r.path("routes.conf"), n, func(i int) string { return "route " + nth(i).String() + " blackhole;\n" })
	if _, missing := os.Stat(r.path("sender.ctl")); err == nil && missing == nil {
		_, err = r.birdc("configure")
	}
	return err
}

// birdc speaks to the sender.
func (r *receiver) birdc(words ...string) (string, error) {
	out, err := exec.Command(program("birdc"), append([]string{"-s", r.path("sender.ctl")}, words...)...).CombinedOutput()
	if err != nil {
		err = fmt.Errorf("birdc %s: %w: %s", strings.Join(words, " "), err, out)
	}
	return string(out), err
}

// established waits for the session. Nothing tells of it.
func (r *receiver) established(ctx context.Context) error {
	ctx, stop := context.WithTimeout(ctx, 30*time.Second)
	defer stop()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		out, err := r.birdc("show", "protocols", "peer")
		if err == nil && strings.Contains(out, "Established") {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("no session: %s: %w", out, ctx.Err())
		case <-tick.C:
		}
	}
}

// fed is the time from the first UPDATE until the kernel holds n routes more, or none of them any more.
func (r *receiver) fed(ctx context.Context, verb string, n int) (time.Duration, error) {
	ctx, stop := context.WithTimeout(ctx, feedTime)
	defer stop()
	w, err := openWire(r.ns)
	if err != nil {
		return 0, err
	}
	defer w.close()
	type instant struct {
		at  time.Time
		err error
	}
	first := make(chan instant, 1)
	go func() {
		at, err := w.update(ctx)
		first <- instant{at, err}
	}()
	want := r.idle
	if verb == "enable" {
		want += n
	}
	if _, err := r.birdc(verb, "feed"); err != nil {
		stop()
		<-first
		return 0, err
	}
	last, err := entries(ctx, r.ns, want)
	if err != nil {
		stop()
		<-first
		return 0, err
	}
	began := <-first
	return last.Sub(began.at), began.err
}
