package probe

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"time"

	"golang.org/x/net/ipv6"
)

// Stream is a ping that does not wait for answers: one request every Interval, answers counted as they come.
type Stream struct {
	Dst      netip.Addr
	Interval time.Duration
	Count    int           // requests to send; 0: until the context ends
	Patience time.Duration // for the last answers, after the last request
	Each     func(Reply)   // called for every answer; may be nil
}

// Tally is the outcome of a Stream.
type Tally struct {
	Sent, Lost int
	Min, Max   time.Duration
	Sum        time.Duration // of the round trips of all answers
}

// Mean is the mean round trip of the answers.
func (t Tally) Mean() time.Duration {
	if n := t.Sent - t.Lost; n > 0 {
		return t.Sum / time.Duration(n)
	}
	return 0
}

func (t Tally) String() string {
	return fmt.Sprintf("%d sent, %d lost, round trip min %v mean %v max %v", t.Sent, t.Lost,
		t.Min.Round(time.Microsecond), t.Mean().Round(time.Microsecond), t.Max.Round(time.Microsecond))
}

// maxStream is the range of the sequence number, beyond which answers could not be told apart.
const maxStream = 1 << 16

// Run sends until ctx ends or Count is reached, waits for what is under way, at most Patience, and returns the tally. Nothing else may
// use p meanwhile.
func (s Stream) Run(ctx context.Context, p *Pinger) (Tally, error) {
	if s.Count > maxStream {
		return Tally{}, fmt.Errorf("ping %s: at most %d requests at a time", s.Dst, maxStream)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.conn.SetReadDeadline(time.Time{}); err != nil {
		return Tally{}, fmt.Errorf("ping %s: %w", s.Dst, err)
	}
	sent := make([]time.Time, maxStream) // by sequence number, written before the request leaves
	started := make(chan int, maxStream)
	var count int
	var sendErr error
	last := make(chan int, 1) // how many were sent, as soon as that is known
	go func() {
		defer close(started)
		count, sendErr = s.send(ctx, p, sent, started)
		last <- count
		sendErr = errors.Join(sendErr, p.conn.SetReadDeadline(time.Now())) // wakes who waits for answers
	}()
	t, err := s.collect(p, sent, started, last)
	for range started { // the sender has ended when this has
	}
	t.Sent = count
	t.Lost += count
	return t, errors.Join(sendErr, err)
}

// send sends the requests.
func (s Stream) send(ctx context.Context, p *Pinger, sent []time.Time, started chan<- int) (int, error) {
	tick := time.NewTicker(s.Interval)
	defer tick.Stop()
	n := 0
	var err error
	for n < maxStream && (s.Count == 0 || n < s.Count) && err == nil {
		sent[n] = time.Now()
		started <- n
		if err = p.send(s.Dst, n, 0); err != nil {
			err = fmt.Errorf("request %d: %w", n, err)
		}
		n++
		select {
		case <-tick.C:
			continue
		case <-ctx.Done():
		}
		break
	}
	return n, err
}

// collect reads answers until all have come, or Patience after the last request. Lost is returned as minus the number of answers.
func (s Stream) collect(p *Pinger, sent []time.Time, started, last <-chan int) (Tally, error) {
	var t Tally
	seen := map[int]bool{}
	known, all := -1, -1
	for all < 0 || len(seen) < all {
		r, seq, err := p.receive()
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded) && all < 0:
			all = <-last
			if err := p.conn.SetReadDeadline(time.Now().Add(s.Patience)); err != nil {
				return t, fmt.Errorf("wait for answers of %s: %w", s.Dst, err)
			}
			continue
		case errors.Is(err, os.ErrDeadlineExceeded):
			return t, nil
		}
		if err != nil {
			return t, fmt.Errorf("wait for answers of %s: %w", s.Dst, err)
		}
		for known < seq { // orders the read of sent[seq] after its write
			n, ok := <-started
			if !ok {
				break
			}
			known = n
		}
		if r.Type != ipv6.ICMPTypeEchoReply || seen[seq] || seq > known {
			continue
		}
		seen[seq] = true
		r.RTT = time.Since(sent[seq])
		t.add(r.RTT)
		if s.Each != nil {
			s.Each(r)
		}
	}
	return t, nil
}

func (t *Tally) add(rtt time.Duration) {
	if t.Lost == 0 || rtt < t.Min {
		t.Min = rtt
	}
	t.Lost--
	t.Max = max(t.Max, rtt)
	t.Sum += rtt
}
