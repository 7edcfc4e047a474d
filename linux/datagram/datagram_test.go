package datagram

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// open returns a socket on the loopback and a client of it.
func open(t *testing.T) (*Socket, *net.UDPConn) {
	t.Helper()
	c, err := net.ListenUDP("udp6", &net.UDPAddr{IP: net.IPv6loopback})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	s, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	client, err := net.DialUDP("udp6", nil, c.LocalAddr().(*net.UDPAddr))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	if err := client.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	return s, client
}

// read reads until n datagrams came.
func read(t *testing.T, s *Socket, n int, each func(i int)) {
	t.Helper()
	for n > 0 {
		came, err := s.Read()
		if err != nil {
			t.Fatal(err)
		}
		for i := range came {
			each(i)
		}
		s.Flush()
		n -= came
	}
}

// A socket is busy, and lets datagrams come together, while Reads find some at once.
func TestBusy(t *testing.T) {
	s, client := open(t)
	say := func() {
		t.Helper()
		if _, err := client.Write([]byte("x")); err != nil { // it is there when Write returns: the loopback hands it over at once
			t.Fatal(err)
		}
	}
	say()
	read(t, s, 1, func(int) {})
	if !s.busy {
		t.Error("a Read that found a datagram left the socket idle")
	}
	if err := s.SetReadDeadline(time.Now().Add(time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Read(); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("a Read without datagrams: %v", err)
	}
	if s.busy {
		t.Error("a Read that found nothing left the socket busy")
	}
}

// Every datagram is answered with itself and its number: more of them than a batch holds.
func TestEveryDatagramHasItsAnswer(t *testing.T) {
	s, client := open(t)
	const all = 2*Most + 1
	var want, got []string
	for i := range all {
		m := fmt.Sprintf("%0*d", 1+i, i)
		want = append(want, m)
		if _, err := client.Write([]byte(m)); err != nil {
			t.Fatal(err)
		}
	}
	read(t, s, all, func(i int) {
		b, from := s.Message(i)
		if from != netip.IPv6Loopback() {
			t.Errorf("from %s", from)
		}
		if i%2 == 0 {
			s.Answer(i, b)
		} else {
			s.Later(i)(b)
		}
	})
	b := make([]byte, MaxIn)
	for range all {
		n, err := client.Read(b)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, string(b[:n]))
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Error("answers differ from questions")
	}
}

// A batch of answers of which one cannot be sent: the others arrive.
func TestAnAnswerThatCannotBeSent(t *testing.T) {
	s, client := open(t)
	for _, m := range []string{"one", "two", "three"} {
		if _, err := client.Write([]byte(m)); err != nil {
			t.Fatal(err)
		}
	}
	seen := 0
	read(t, s, 3, func(i int) {
		if seen++; seen == 2 {
			s.in.peers[i].Port = 0 // EINVAL
		}
		b, _ := s.Message(i)
		s.Answer(i, b)
	})
	if list := got(t, client, 2); !slices.Equal(list, []string{"one", "three"}) {
		t.Errorf("got %q", list)
	}
}

func TestDatagramLongerThanMaxIn(t *testing.T) {
	s, client := open(t)
	for _, n := range []int{MaxIn, MaxIn + 1} {
		if _, err := client.Write(make([]byte, n)); err != nil {
			t.Fatal(err)
		}
	}
	var lengths []int
	read(t, s, 2, func(i int) {
		b, _ := s.Message(i)
		lengths = append(lengths, len(b))
	})
	if !slices.Equal(lengths, []int{MaxIn, 0}) {
		t.Errorf("lengths %v", lengths)
	}
}

func TestReadEndsAtADeadlineAndWithItsSocket(t *testing.T) {
	s, _ := open(t)
	if err := s.SetReadDeadline(time.Unix(1, 0)); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Read(); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("got %v, want a deadline", err)
	}
	if err := s.SetReadDeadline(time.Time{}); err != nil {
		t.Fatal(err)
	}
	s.conn.Close()
	if _, err := s.Read(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("got %v, want a closed socket", err)
	}
}

// asked has a client send so many datagrams, and answers each of them.
func asked(t *testing.T, s *Socket, client *net.UDPConn, answers []string) {
	t.Helper()
	for i := range answers {
		if _, err := client.Write([]byte{byte(i)}); err != nil {
			t.Fatal(err)
		}
	}
	for n := 0; n < len(answers); {
		came, err := s.Read()
		if err != nil {
			t.Fatal(err)
		}
		for i := range came {
			b, _ := s.Message(i)
			s.Answer(i, []byte(answers[b[0]]))
		}
		n += came
		s.Flush()
	}
}

// got is what a client has been answered, in any order.
func got(t *testing.T, client *net.UDPConn, n int) (list []string) {
	t.Helper()
	b := make([]byte, MaxIn)
	for range n {
		k, err := client.Read(b)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, string(b[:k]))
	}
	slices.Sort(list)
	return list
}

// Answers of one size to one client leave as one; each client has its own, whole and once.
func TestAnswersThatLeaveTogether(t *testing.T) {
	s, first := open(t)
	second, err := net.DialUDP("udp6", nil, s.conn.LocalAddr().(*net.UDPAddr))
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	if err := second.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	for _, sizes := range [][]int{{100, 100, 100}, {80, 100}, {60, 100, 100, 60, 60, 100}, {1, 2, 1, 2, 3}, {1232, 1232, 1232}, {MaxOut, 10, MaxOut}} {
		var want [2][]string
		for c, client := range []*net.UDPConn{first, second} {
			for i, n := range sizes {
				want[c] = append(want[c], strings.Repeat(string(rune('a'+i+10*c)), n))
			}
			asked(t, s, client, want[c])
			slices.Sort(want[c])
		}
		for c, client := range []*net.UDPConn{first, second} {
			if list := got(t, client, len(sizes)); !slices.Equal(list, want[c]) {
				t.Errorf("sizes %d, client %d: %.200q", sizes, c, list)
			}
		}
	}
}

// to is a place of the queue whose answers go to a port.
func to(port uint16) *unix.RawSockaddrInet6 {
	return &unix.RawSockaddrInet6{Family: unix.AF_INET6, Port: port, Addr: netip.IPv6Loopback().As16()}
}

// Which answers are one message: those to one client, all but the last of one size.
func TestMessagesOfAQueue(t *testing.T) {
	type sent struct {
		port  uint16
		sizes []int
	}
	many := slices.Repeat([]int{MaxOut}, 40)
	for _, x := range []struct {
		name string
		add  []sent // in the order of the answers
		want []sent
	}{
		{"one size", []sent{{1, []int{9, 9, 9}}}, []sent{{1, []int{9, 9, 9}}}},
		{"the longest first", []sent{{1, []int{5, 9}}}, []sent{{1, []int{9, 5}}}},
		{"one shorter one", []sent{{1, []int{5, 9, 9, 5}}}, []sent{{1, []int{9, 9, 5}}, {1, []int{5}}}},
		{"each client", []sent{{2, []int{9}}, {1, []int{9}}, {2, []int{9}}, {1, []int{9}}}, []sent{{1, []int{9, 9}}, {2, []int{9, 9}}}},
		{"64 KiB at most", []sent{{1, many}}, []sent{{1, many[:31]}, {1, many[:9]}}},
		{"nothing to part", []sent{{1, []int{0, 0}}}, []sent{{1, []int{0}}, {1, []int{0}}}},
	} {
		q := &queue{room: make([]byte, Most*MaxOut)}
		for _, a := range x.add {
			for _, n := range a.sizes {
				q.add(to(a.port), make([]byte, n))
			}
		}
		q.lay()
		laid := func() (list []sent) {
			for i := range q.calls {
				h := q.headers[i].header
				m := sent{port: (*unix.RawSockaddrInet6)(unsafe.Pointer(h.Name)).Port}
				for _, p := range unsafe.Slice(h.Iov, h.Iovlen) {
					m.sizes = append(m.sizes, int(p.Len))
				}
				if c := (*segment)(unsafe.Pointer(h.Control)); len(m.sizes) > 1 && (c == nil || int(c.size) != m.sizes[0]) || len(m.sizes) == 1 && c != nil {
					t.Errorf("%s: message %d is parted by %+v", x.name, i, c)
				}
				list = append(list, m)
			}
			return list
		}
		if diff := cmp.Diff(x.want, laid(), cmp.AllowUnexported(sent{})); diff != "" {
			t.Errorf("%s: (-want +got)\n%s", x.name, diff)
		}
		for ; q.sent < q.calls; q.sent++ { // the kernel takes none of them
			q.part()
		}
		if list := laid(); len(list) != q.count {
			t.Errorf("%s: parted they are %v", x.name, list)
		}
	}
}
