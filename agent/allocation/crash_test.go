package allocation

import (
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"hexapod.dev/agent/journal"
	"hexapod.dev/agent/journal/crashfs"
	"hexapod.dev/model/desired"
	"hexapod.dev/model/ipam"
)

var crashSeed = flag.Uint64("crash.seed", 1, "first seed of the crash runs")

const cutsPerRun = 4

// TestPowerCuts cuts the power 10,000 times (300 with -short) in runs of 10^4 to 10^6 allocations, 100 of the cuts in runs above
// 10^5, on a disk that forgets every byte not synced and tears what it was writing. No address may be given out twice and no
// allocation that was answered may be unknown to whereis.
func TestPowerCuts(t *testing.T) {
	t.Parallel()
	cuts, longCuts := 10_000, 100
	if testing.Short() {
		cuts, longCuts = 300, 0
	}
	var landed, given, next atomic.Int64
	var group sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		group.Go(func() {
			for {
				n := int(next.Add(1)) - 1
				if n*cutsPerRun >= cuts || t.Failed() {
					return
				}
				r := newCrashRun(t, *crashSeed+uint64(n), n*cutsPerRun < longCuts)
				r.run()
				if r.failed != "" {
					t.Error(r.failed)
				}
				landed.Add(int64(r.cuts))
				given.Add(int64(r.answered))
			}
		})
	}
	group.Wait()
	if !t.Failed() && landed.Load() != int64(cuts) {
		t.Errorf("%d cuts landed, want %d", landed.Load(), cuts)
	}
	t.Logf("%d cuts, %d allocations answered", landed.Load(), given.Load())
}

// liar is a disk that confirms syncs it does not do, as disks with a volatile cache and no barrier do.
type liar struct{ *crashfs.Disk }

type liarFile struct{ journal.File }

func (liarFile) Sync() error { return nil }

func (l liar) Create(name string) (journal.File, error) {
	f, err := l.Disk.Create(name)
	return liarFile{f}, err
}

// The suite must be able to fail: on a disk that lies it does.
func TestPowerCutsFindALyingDisk(t *testing.T) {
	for seed := range uint64(20) {
		r := newCrashRun(t, seed, false)
		r.mount = func(d *crashfs.Disk) journal.FS { return liar{d} }
		if r.run(); r.failed != "" {
			return
		}
	}
	t.Error("20 runs on a disk that never syncs, and all went well")
}

// crashRun is one host through several power cuts.
type crashRun struct {
	t      *testing.T
	seed   uint64
	random *rand.Rand
	total  int
	disk   *crashfs.Disk
	mount  func(*crashfs.Disk) journal.FS
	failed string // what went wrong first
	clock  *fakeClock
	o      Options
	book   *Book

	cuts     int
	answered int
	asked    int
	seen     map[netip.Addr]int32 // answered: by which request
	living   []int
}

// size draws how many allocations a run has, the small ones far more often.
func size(random *rand.Rand, long bool) int {
	if long {
		return 100_001 + random.IntN(100_000)*(1+random.IntN(9))
	}
	if random.IntN(20) == 0 {
		return 10_000 + random.IntN(90_001)
	}
	return 10_000 + random.IntN(2000)
}

func newCrashRun(t *testing.T, seed uint64, long bool) *crashRun {
	random := rand.New(rand.NewPCG(seed, 0))
	r := &crashRun{t: t, seed: seed, random: random, total: size(random, long), clock: &fakeClock{now: day0}, disk: crashfs.New(random)}
	r.mount = func(d *crashfs.Disk) journal.FS { return d }
	r.seen = make(map[netip.Addr]int32, r.total)
	r.o = options(t, nil, r.clock)
	r.o.IDs.Boot[0] = byte(seed)
	return r
}

func (r *crashRun) errorf(format string, a ...any) {
	if r.failed == "" {
		r.failed = fmt.Sprintf("seed %d, %d allocations, cut %d: %s", r.seed, r.total, r.cuts, fmt.Sprintf(format, a...))
	}
}

// run lets the host live until all cuts landed and all allocations were answered.
func (r *crashRun) run() {
	for r.failed == "" {
		if r.cuts < cutsPerRun {
			r.plan()
		}
		r.live()
		if !r.disk.Off() {
			break
		}
		r.cuts++
		r.disk = r.disk.Reboot()
		r.afterCut()
	}
	if r.failed == "" {
		r.check()
	}
}

// plan puts the next cut somewhere before the end: a commit of 32 records on average takes a write and a sync.
func (r *crashRun) plan() {
	left := (r.total - r.answered) / (cutsPerRun - r.cuts)
	r.disk.CutAfter(1 + r.random.IntN(max(1, left/20)))
}

// afterCut changes what a new start may find changed. At least the boot is another one, the clock may stand still.
func (r *crashRun) afterCut() {
	r.o.IDs.Boot[1]++
	if r.random.IntN(2) == 0 {
		r.clock.set(r.clock.Now() + ipam.Seconds(r.random.IntN(4)))
	}
	if r.random.IntN(8) == 0 { // over midnight, a new segment
		r.clock.set(r.clock.Now() + ipam.Day)
	}
	r.check()
}

// live allocates in groups of up to 64 until the power fails or enough was given out; now and then an endpoint goes.
func (r *crashRun) live() {
	r.o.FS = r.mount(r.disk)
	book, err := Open(r.o)
	if err != nil {
		if !errors.Is(err, crashfs.ErrCut) {
			r.errorf("open: %v", err)
		}
		return
	}
	r.book = book
	for !r.disk.Off() && r.answered < r.total && r.failed == "" {
		if r.random.IntN(64) == 0 {
			r.clock.set(r.clock.Now() + 1)
		}
		if r.group(1+r.random.IntN(64)) != nil {
			return
		}
		for len(r.living) > 100 && r.random.IntN(8) != 0 && !r.disk.Off() {
			n := len(r.living) - 1
			if r.retire(r.living[n-20:]) != nil {
				return
			}
			r.living = r.living[:n-20]
		}
	}
}

// group makes n allocations that are committed together.
func (r *crashRun) group(n int) error {
	if err := r.book.settle(); err != nil {
		return err
	}
	var tickets [64]attempt
	first := r.asked
	for i := range n {
		request := r.request(r.asked)
		r.asked++
		a, err := r.start(request)
		if err != nil {
			r.errorf("allocate: %v", err)
			return err
		}
		tickets[i] = a
	}
	for i, a := range tickets[:n] {
		if err := a.finish(); err != nil {
			if !errors.Is(err, crashfs.ErrCut) {
				r.errorf("allocate: %v", err)
			}
			return err
		}
		r.answer(a.allocation.Addr, first+i)
	}
	return nil
}

func (r *crashRun) start(request Request) (attempt, error) {
	for {
		a, err := r.book.start(request, request.Owner.pack())
		var wait *ipam.WaitError
		if !errors.As(err, &wait) {
			return a, err
		}
		r.clock.set(wait.Until)
	}
}

func (r *crashRun) request(n int) Request {
	return Request{Owner: Owner{Key: desired.EndpointKey{Container: strconv.Itoa(n), Interface: "eth0"}}, Identity: 0x1a7}
}

func (r *crashRun) answer(a netip.Addr, request int) {
	if before, ok := r.seen[a]; ok {
		r.errorf("%s was given to request %d and to %d", a, before, request)
	}
	r.seen[a] = int32(request)
	r.answered++
	r.living = append(r.living, request)
}

// retire takes endpoints back in one commit.
func (r *crashRun) retire(which []int) error {
	var finish []func() error
	for _, n := range which {
		key := ipam.PackKey(strconv.Itoa(n), "eth0")
		e := r.book.index.key(key)
		if e == nil {
			r.errorf("endpoint %d was answered and does not live", n)
			return nil
		}
		finish = append(finish, r.book.enqueueRetire(netip.AddrFrom16(e.addr), key))
	}
	for _, f := range finish {
		if err := f(); err != nil {
			r.living = r.living[:len(r.living)-len(which)] // the power failed: nobody knows which are gone
			return err
		}
	}
	return nil
}

// check reads the journal as whereis does and looks for every answered allocation; for a few whereis itself is asked.
func (r *crashRun) check() {
	found := make(map[netip.Addr]int32, len(r.seen))
	all, err := journal.Segments(r.disk)
	if err != nil {
		r.errorf("segments: %v", err)
		return
	}
	for i := range all {
		err := journal.Read(r.disk, all, i, func(b []byte) error {
			record, err := ipam.ParseRecord(b)
			if err == nil && record.Kind == ipam.RecordAllocate {
				o, _ := record.Owner.Unpack()
				n, _ := strconv.Atoi(o.Container)
				if was, ok := found[record.Addr]; ok && was != int32(n) {
					r.errorf("the journal gives %s to %d and to %d", record.Addr, was, n)
				}
				found[record.Addr] = int32(n)
			}
			return err
		})
		if err != nil {
			r.errorf("read %s: %v", all[i].Name(), err)
			return
		}
	}
	samples := 0
	for a, n := range r.seen {
		if got, ok := found[a]; !ok || got != n {
			r.errorf("%s was answered to request %d and the journal says %d (%v)", a, n, got, ok)
			return
		}
		if samples < 2 {
			samples++
			r.ask(a, n)
		}
	}
}

func (r *crashRun) ask(a netip.Addr, n int32) {
	w, err := Search(r.t.Context(), r.disk, r.o.Layout, a, r.clock.Now())
	if err != nil || len(w.Life) != 1 || w.Life[0].Key.Container != strconv.Itoa(int(n)) {
		r.errorf("whereis %s: got %+v, %v; want request %d", a, w, err, n)
	}
}
