package main

import (
	"encoding/binary"
	"net"
	"strconv"
)

const (
	typeA    = 1
	typeAAAA = 28
	ttl      = 3600
)

// question is a message that asks for the AAAA records of one of the names, with EDNS (RFC 1035 4.1, RFC 6891 6.1.2).
func question(b []byte, id uint16, name int) []byte {
	b = binary.BigEndian.AppendUint16(b, id)
	b = append(b, 1, 0, 0, 1, 0, 0, 0, 0, 0, 1) // recursion desired; one question, one additional record
	label := strconv.AppendInt([]byte("host-"), int64(name), 10)
	b = append(append(b, byte(len(label))), label...)
	b = append(b, "\x05bench\x04test\x00"...)
	b = append(b, 0, typeAAAA, 0, 1)
	return append(b, 0, 0, 41, 0x04, 0xd0, 0, 0, 0, 0, 0, 0) // up to 1,232 bytes
}

// newUpstream is the server that the servers ask: every name has one IPv4 address and no other.
func newUpstream() (*net.UDPConn, error) {
	c, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv6loopback})
	if err != nil {
		return nil, err
	}
	_ = c.SetReadBuffer(8 << 20) // as much as the kernel gives
	go func() {
		b := make([]byte, 4096)
		for {
			n, from, err := c.ReadFromUDPAddrPort(b)
			if err != nil {
				return
			}
			if r := response(b[:n]); r != nil {
				_, _ = c.WriteToUDPAddrPort(r, from)
			}
		}
	}()
	return c, nil
}

// response answers a question in its own case, which may be mixed.
func response(q []byte) []byte {
	end := 12
	for end < len(q) && q[end] != 0 {
		end += int(q[end]) + 1
	}
	if end+5 > len(q) {
		return nil
	}
	typ := binary.BigEndian.Uint16(q[end+1:])
	r := append([]byte{}, q[:end+5]...)
	r[2], r[3] = 0x85, 0x80 // an answer, authoritative, recursion as desired and available
	copy(r[4:], []byte{0, 1, 0, 0, 0, 0, 0, 0})
	if typ == typeA {
		r[7] = 1
		r = append(r, 0xc0, 12, 0, typeA, 0, 1)
		r = binary.BigEndian.AppendUint32(r, ttl)
		return append(r, 0, 4, 8, 8, q[end], byte(len(q)))
	}
	r[9] = 1 // in the authority section: the SOA of test., by which it is remembered that there is none (RFC 2308 3)
	r = append(r, "\x04test\x00\x00\x06\x00\x01"...)
	r = binary.BigEndian.AppendUint32(r, ttl)
	soa := []byte("\x02ns\x04test\x00\x01h\x04test\x00")
	r = binary.BigEndian.AppendUint16(r, uint16(len(soa)+20))
	r = append(r, soa...)
	for range 5 { // serial, refresh, retry, expire, minimum
		r = binary.BigEndian.AppendUint32(r, ttl)
	}
	return r
}
