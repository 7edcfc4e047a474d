package resolver

import (
	"context"
	"encoding/binary"
	"net"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"

	"hexapod.dev/linux/child"
)

// Times of the watch over the child: two probes in a row without an answer, and the cluster's own DNS is asked again.
const (
	probeEvery  = 200 * time.Millisecond
	probeWait   = 300 * time.Millisecond
	probeMisses = 2
	hungAfter   = 20 // probes without an answer, and a child that lives is ended
)

// watch asks the server what it knows without asking anybody, again and again. While it answers, clients of the cluster's DNS are led
// to it. A server that lives and does not answer is ended, and started anew.
func (r *Resolver) watch(ctx context.Context, keeper *child.Keeper) {
	ticker := time.NewTicker(probeEvery)
	defer ticker.Stop()
	missed := 0
	for {
		r.mu.Lock()
		at := r.at
		r.mu.Unlock()
		state := keeper.State()
		switch ok := state.PID != 0 && r.probe(at); {
		case ok:
			missed = 0
			r.lead(true)
		case state.PID != 0 || missed < probeMisses:
			missed++
		}
		if missed >= probeMisses {
			r.lead(false)
		}
		if missed >= hungAfter && state.PID > 1 {
			r.options.Log.Error("the DNS server of this host does not answer and is ended", "pid", state.PID)
			_ = unix.Kill(state.PID, unix.SIGKILL) // it may have ended itself
			missed = probeMisses
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// lead leads clients of the cluster's DNS to this host's server, or no more.
func (r *Resolver) lead(here bool) {
	r.mu.Lock()
	changed := r.leads != here
	r.leads = here
	r.mu.Unlock()
	if changed {
		r.options.Log.Info("clients of the cluster's DNS", "led to this host's server", here)
		r.options.Led()
	}
}

// probe asks for ipv4only.arpa, which every server of ours answers by itself (RFC 8880).
func (r *Resolver) probe(at netip.AddrPort) (ok bool) {
	question := []byte("\x00\x00\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x08ipv4only\x04arpa\x00\x00\x01\x00\x01")
	binary.BigEndian.PutUint16(question, uint16(time.Now().UnixNano()))
	probe := func() error {
		c, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(at))
		if err != nil {
			return err
		}
		defer c.Close()
		if err := c.SetDeadline(time.Now().Add(probeWait)); err != nil {
			return err
		}
		if _, err := c.Write(question); err != nil {
			return err
		}
		var b [512]byte
		n, err := c.Read(b[:])
		ok = err == nil && n > 12 && b[0] == question[0] && b[1] == question[1]
		return err
	}
	if r.options.NS != nil {
		_ = r.options.NS.Do(probe) // ok says it
	} else {
		_ = probe()
	}
	return ok
}
