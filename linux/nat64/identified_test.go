package nat64

import (
	"encoding/binary"
	"testing"

	"golang.org/x/sys/unix"

	"hexapod.dev/linux/netns/netnstest"
	"hexapod.dev/model/xlat"
	"hexapod.dev/model/xlat/nat64"
)

// datagrams sees the IPv4 packets that come to the server of a bed.
type datagrams struct{ fd int }

func (b *bed) datagrams(t *testing.T) (d datagrams) {
	t.Helper()
	netnstest.Do(t, b.server, func() (err error) {
		d.fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, int(binary.NativeEndian.Uint16([]byte{0x08, 0x00})))
		return err
	})
	t.Cleanup(func() { unix.Close(d.fd) })
	return d
}

// identified wants so many of UDP, at least, that may be cut, each with an identification of its own (RFC 7915 5.1, RFC 6864 4.1).
func (d datagrams) identified(t *testing.T, least int) {
	t.Helper()
	seen := map[uint16]bool{}
	for b := make([]byte, 65536); ; {
		n, from, err := unix.Recvfrom(d.fd, b, unix.MSG_DONTWAIT)
		if err != nil {
			break
		}
		l, ok := from.(*unix.SockaddrLinklayer)
		if !ok || l.Pkttype == unix.PACKET_OUTGOING || n < 28 || b[9] != 17 {
			continue
		}
		id := binary.BigEndian.Uint16(b[4:])
		if b[6]&0x40 != 0 {
			t.Errorf("a packet of %d bytes must not be cut", n)
		}
		if seen[id] {
			t.Errorf("two packets have the identification %d", id)
		}
		seen[id] = true
	}
	if len(seen) < least {
		t.Errorf("%d packets with identifications of their own came, want %d", len(seen), least)
	}
}

// TestRFC6864_4_3_ProcessorsShareIdentifications sends packets of one flow by each processor in turn: no two have one identification.
func TestRFC6864_4_3_ProcessorsShareIdentifications(t *testing.T) {
	const each, turns = 100, 10
	ns := netnstest.New(t)
	w := newTwin(t, ns, 64)
	var boot unix.Timespec
	must(t, unix.ClockGettime(unix.CLOCK_BOOTTIME, &boot))
	w.now = nat64.Seconds(boot.Sec)
	w.tell(t)
	client, server := twinClients[0], xlat.WellKnown.Embed(twinServers[0])
	p := head6(client, server, 17, 64, 0, sealed(client, server, 17, ports(8, 5000, 53, make([]byte, 100))))
	if why, _ := w.with.through(p, 0); why != xlat.Translated {
		t.Fatalf("the first packet ended as %s", why)
	}
	var s fastSettings
	must(t, w.settings.Lookup(uint32(0), &s))
	s.Flags &^= fastTest
	must(t, w.settings.Put(uint32(0), s))
	seen := map[uint16]bool{}
	netnstest.Do(t, ns, func() error {
		return netnstest.OnEachCPU(turns, func() error {
			for range each {
				way, out, err := w.run(p, 0)
				if err != nil {
					return err
				}
				if id := binary.BigEndian.Uint16(out[4:]); way == leftAlone || seen[id] {
					t.Errorf("a packet went way %d with the identification %d, which another one has", way, id)
				} else {
					seen[id] = true
				}
			}
			return nil
		})
	})
}
