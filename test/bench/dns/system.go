package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// system is a server that is measured.
type system struct {
	name string
	pid  int
	at   netip.AddrPort
}

// pin keeps this process, which is client and upstream, off the processor of the servers.
func pin() error {
	var set unix.CPUSet
	for i := 1; i < runtime.NumCPU(); i++ {
		set.Set(i)
	}
	if set.Count() == 0 {
		return errors.New("it takes two processors: one for the server, one for its clients")
	}
	tasks, err := os.ReadDir("/proc/self/task")
	for _, t := range tasks { // threads that begin later have it from those
		id, _ := strconv.Atoi(t.Name())
		err = errors.Join(err, unix.SchedSetaffinity(id, &set))
	}
	return err
}

// await waits until the server answers.
func (s *system) await() error {
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) { // it tells nobody when it is up
		if c, err := s.dial(); err == nil {
			_, err = c.Write(question(nil, 0, 0))
			if err == nil {
				_, err = c.Read(make([]byte, 512))
			}
			c.Close()
			if err == nil {
				return nil
			}
		}
	}
	return errors.New("does not answer")
}

func (s *system) dial() (*net.UDPConn, error) {
	c, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(s.at))
	if err == nil {
		err = c.SetReadDeadline(time.Now().Add(patience))
	}
	return c, err
}

const (
	window   = 64              // questions that are on their way at a time
	patience = 2 * time.Second // for an answer; then it is lost and asked for again
)

// ask asks n questions and waits for every answer.
func (s *system) ask(ctx context.Context, n int, name func(i int) int) (round, error) {
	c, err := s.dial()
	if err != nil {
		return round{}, err
	}
	defer c.Close()
	var waiting [1 << 16]int32 // by message number: the question, counted from 1
	var b [1500]byte
	r := round{Questions: n}
	before, err := s.cpu()
	if err != nil {
		return r, err
	}
	begun := time.Now()
	sent, open := 0, 0
	send := func(i int) error {
		id := uint16(sent)
		for waiting[id] != 0 {
			id++
		}
		waiting[id] = int32(i + 1)
		_, err := c.Write(question(b[:0], id, name(i)))
		return err
	}
	for done := 0; done < n; {
		for open < window && sent < n {
			if err := send(sent); err != nil {
				return r, fmt.Errorf("%s: %w", s.name, err)
			}
			sent, open = sent+1, open+1
		}
		size, err := c.Read(b[:])
		if ctx.Err() != nil {
			return r, ctx.Err()
		}
		if errors.Is(err, os.ErrDeadlineExceeded) {
			if r.Lost += open; r.Lost > n/10 {
				return r, fmt.Errorf("%s does not answer: %d of %d questions lost", s.name, r.Lost, n)
			}
			for id, i := range waiting {
				if i != 0 {
					if _, err := c.Write(question(b[:0], uint16(id), name(int(i-1)))); err != nil {
						return r, err
					}
				}
			}
			err = c.SetReadDeadline(time.Now().Add(patience))
		}
		if err != nil {
			return r, fmt.Errorf("%s: %w", s.name, err)
		}
		if size < 12 {
			continue
		}
		id := binary.BigEndian.Uint16(b[:])
		if waiting[id] == 0 {
			continue // answered twice
		}
		if b[3]&15 != 0 || binary.BigEndian.Uint16(b[6:]) != 1 {
			return r, fmt.Errorf("%s answers with code %d and %d records, want one", s.name, b[3]&15, binary.BigEndian.Uint16(b[6:]))
		}
		waiting[id] = 0
		done, open = done+1, open-1
		if done%4096 == 0 {
			if err := c.SetReadDeadline(time.Now().Add(patience)); err != nil {
				return r, err
			}
		}
	}
	r.Wall = time.Since(begun).Seconds()
	after, err := s.cpu()
	r.CPU = after - before
	return r, err
}

// cpu is the processor time of the server in seconds.
func (s *system) cpu() (float64, error) {
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", s.pid))
	if err == nil && len(files) == 0 {
		err = fmt.Errorf("%s has ended", s.name)
	}
	var sum float64
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			return 0, err
		}
		ns, err := strconv.ParseFloat(strings.Fields(string(text))[0], 64)
		if err != nil {
			return 0, err
		}
		sum += ns
	}
	return sum / 1e9, err
}

// resident is the memory of the server in KiB.
func (s *system) resident() (int64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.pid))
	if err != nil {
		return 0, err
	}
	for line := range bytes.Lines(text) {
		if words := strings.Fields(string(line)); len(words) > 1 && words[0] == "VmRSS:" {
			return strconv.ParseInt(words[1], 10, 64)
		}
	}
	return 0, errors.New("the kernel does not tell its memory")
}
