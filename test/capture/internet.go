package main

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"

	"github.com/miekg/dns"

	"hexapod.dev/linux/netns"
)

// hosts are the names of the Internet, h0.web.test and on, each with an IPv4 address of its own and nothing else.
const hosts = 10

var nameServer = netip.MustParseAddr("45.66.0.53")

func name(host int) string        { return fmt.Sprintf("h%d.web.test", host) }
func address(host int) netip.Addr { return netip.AddrFrom4([4]byte{45, 66, 0, byte(80 + host)}) }

// object is the content of one URL: as long as things of the web are, most of them small.
func object(number int) []byte {
	dice := rand.New(rand.NewPCG(uint64(number), 64))
	sizes := []int{200, 400, 900, 1500, 3000, 3000, 7000, 12_000, 20_000, 45_000}
	size := sizes[dice.IntN(len(sizes))] + dice.IntN(200)
	line := fmt.Appendf(nil, "object %d of a web that has IPv4 alone\n", number)
	return bytes.Repeat(line, size/len(line)+1)[:size]
}

// serve runs the web and its name server.
func serve(ns *netns.NS) error {
	var web net.Listener
	var names net.PacketConn
	err := ns.Do(func() (err error) {
		if web, err = net.Listen("tcp4", ":80"); err == nil {
			names, err = net.ListenPacket("udp4", netip.AddrPortFrom(nameServer, 53).String())
		}
		return err
	})
	if err != nil {
		return err
	}
	s := &http.Server{Protocols: new(http.Protocols), Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		number, err := strconv.Atoi(strings.TrimPrefix(r.URL.Path, "/"))
		if err != nil {
			http.NotFound(w, r)
			return
		}
		_, _ = w.Write(object(number))
	})}
	s.Protocols.SetHTTP1(true)
	s.Protocols.SetUnencryptedHTTP2(true)
	go func() { _ = s.Serve(web) }()
	go func() { _ = (&dns.Server{PacketConn: names, Handler: dns.HandlerFunc(tell)}).ActivateAndServe() }()
	return nil
}

// tell answers a question about the names of the Internet.
func tell(w dns.ResponseWriter, q *dns.Msg) {
	r := new(dns.Msg).SetReply(q)
	r.Authoritative = true
	for i := range hosts {
		if dns.CanonicalName(q.Question[0].Name) == name(i)+"." && q.Question[0].Qtype == dns.TypeA {
			rr := &dns.A{Hdr: dns.RR_Header{Name: q.Question[0].Name, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 300}, A: address(i).AsSlice()}
			r.Answer = append(r.Answer, rr)
		}
	}
	if len(r.Answer) == 0 {
		soa, err := dns.NewRR("web.test. 300 SOA ns.web.test. h.web.test. 1 2 3 4 300")
		if err != nil {
			return
		}
		r.Ns = append(r.Ns, soa)
	}
	_ = w.WriteMsg(r)
}
