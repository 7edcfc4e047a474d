package datagram

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"testing"
	"time"
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
	b := make([]byte, MaxIn)
	for _, want := range []string{"one", "three"} {
		if n, err := client.Read(b); err != nil || string(b[:n]) != want {
			t.Errorf("got %q, %v, want %q", b[:n], err, want)
		}
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
