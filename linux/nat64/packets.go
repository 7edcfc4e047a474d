package nat64

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"hexapod.dev/model/xlat"
)

// Run translates until ctx ends.
func (t *Translator) Run(ctx context.Context) error {
	stop := make(chan struct{})
	defer close(stop)
	go t.tick(stop)
	end := context.AfterFunc(ctx, func() { _ = t.files.TUN.SetReadDeadline(time.Unix(1, 0)) })
	defer end()
	tun, err := t.files.TUN.SyscallConn()
	if err != nil {
		return fmt.Errorf("read packets: %w", err)
	}
	b := make([]byte, headSize+1<<17) // a super-packet is its headers and 64 KiB at most
	for {
		var failed error
		err := tun.Read(func(fd uintptr) (done bool) {
			done, failed = t.drain(fd, b)
			return done
		})
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Join(err, failed) != nil:
			return fmt.Errorf("read packets: %w", errors.Join(err, failed))
		}
	}
}

// burst is how many packets are translated before others that want the process have their turn.
const burst = 64

// drain translates what the device has; false: it has nothing now. The device never blocks, so the runtime need not know of the system
// calls, which saves more than half of what they cost.
func (t *Translator) drain(fd uintptr, b []byte) (bool, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	defer func() { t.taken(t.queue.flush(fd)) }()
	if t.table != nil {
		t.table.Advance(now()) // once for all of them: the kernel is asked for it
	}
	for range burst {
		n, _, errno := unix.RawSyscall(unix.SYS_READ, fd, uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)))
		switch errno {
		case 0:
			t.packet(fd, b[:n])
		case unix.EINTR:
		case unix.EAGAIN:
			return false, nil
		default:
			return true, errno
		}
	}
	return true, nil
}

// packet translates one packet, and what waited for it.
func (t *Translator) packet(fd uintptr, b []byte) {
	u, b := t.queue.split(b)
	if t.engine == nil || len(b) == 0 {
		return
	}
	if u != (undone{}) && !u.plain(b) {
		u.settle(b)
		u = undone{}
	}
	if u.segment != 0 && (t.group != nil || !t.fits(b, u)) { // it came before the kernel was told that none may
		u.segments(b, t.piece, func(s []byte) { t.single(fd, s, undone{}) })
		return
	}
	t.single(fd, b, u)
}

// fits tells whether the segments of a super-packet do, once they are translated.
func (t *Translator) fits(b []byte, u undone) bool {
	size, mtu := headersOf(b)+int(u.segment)-20, t.engine.MTU4
	if b[0]>>4 == 4 {
		size, mtu = size+40, t.engine.MTU6
		if mtu == 0 && b[6]&0x40 == 0 {
			mtu = 1280 // RFC 7915 4: those that may be cut are
		}
	}
	return mtu == 0 || size <= mtu
}

// single translates what leaves as one packet here, and what waited for it.
func (t *Translator) single(fd uintptr, b []byte, u undone) {
	if t.group != nil {
		u.settle(b)
		u = undone{}
		if b = t.mine(b); b == nil {
			return
		}
	}
	if t.one(fd, b, u) != xlat.Translated {
		return
	}
	for _, rest := range t.waiting.release(b) {
		t.one(fd, rest, undone{})
	}
}

// one translates one packet and writes what comes of it.
func (t *Translator) one(fd uintptr, b []byte, u undone) xlat.Why {
	engine := t.engine
	if u.segment != 0 {
		engine = &t.whole
	}
	var why xlat.Why
	counts := &t.count.to4
	t.mute = false
	if b[0]>>4 == 6 {
		why = engine.To4(&t.out, b)
		for range u.packets(b) - 1 {
			engine.ID() // each of its packets has one (RFC 6864 4.1)
		}
	} else {
		why, counts = engine.To6(&t.out, b), &t.count.to6
	}
	if why == xlat.Waiting && !t.waiting.keep(b, t.now()) {
		t.count.lost++
	}
	counts[int(why)%len(counts)]++
	if t.mute {
		return why
	}
	if t.out.Answer {
		t.count.answers++
	}
	for i := range t.out.Len() {
		p, left := t.out.At(i), undone{}
		if u.checksum() && why == xlat.Translated && !t.out.Answer {
			left = u.translated(p)
		}
		t.taken(t.queue.put(fd, left, p))
	}
	return why
}

// taken hears what the kernel says to a packet.
func (t *Translator) taken(errno unix.Errno) {
	if errno != 0 {
		t.log.Debug("a packet was not taken by the kernel", "error", errno)
	}
}

// send sends what is for other gateways, or comes of what is not translated here.
func (t *Translator) send(b []byte) {
	if t.queue.headed {
		b = append(make([]byte, headSize), b...)
	}
	if _, err := t.files.TUN.Write(b); err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		t.log.Debug("a packet was not taken by the kernel", "error", err)
	}
}
