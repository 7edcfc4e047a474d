package dns

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"math/big"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// counting counts connections.
type counting struct {
	net.Listener
	n atomic.Int32
}

func (c *counting) Accept() (net.Conn, error) {
	conn, err := c.Listener.Accept()
	if err == nil {
		c.n.Add(1)
	}
	return conn, err
}

// newTLS starts an upstream that is asked over TLS, with a certificate that names dns.test, and returns who vouches for it.
func newTLS(t *testing.T, answers map[string]string) (at netip.AddrPort, roots *x509.CertPool, connections *atomic.Int32) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"dns.test"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	roots = x509.NewCertPool()
	roots.AddCert(cert)
	tcp, err := net.Listen("tcp", "[::1]:0")
	if err != nil {
		t.Fatal(err)
	}
	count := &counting{Listener: tcp}
	l := tls.NewListener(count, &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}})
	f := &fake{t: t, answers: answers}
	started, done := make(chan struct{}), make(chan struct{})
	s := &dns.Server{Listener: l, Handler: dns.HandlerFunc(f.serve), NotifyStartedFunc: func() { close(started) }}
	go func() {
		defer close(done)
		_ = s.ActivateAndServe()
	}()
	<-started
	t.Cleanup(func() {
		_ = s.Shutdown()
		<-done
	})
	return tcp.Addr().(*net.TCPAddr).AddrPort(), roots, &count.n
}

// A server that is asked over TLS is believed if its certificate names it and somebody vouches for that; connections are used again.
func TestTLS_RFC7858_3(t *testing.T) {
	at, roots, connections := newTLS(t, map[string]string{"six.test. AAAA": "AD six.test. 60 AAAA 2001:db8::6"})
	silent := false // the machine was too busy for one of the tries
	ask := func(s *server) (r *dns.Msg, err error) {
		for range 30 {
			if r, err = s.ask(t.Context(), new(dns.Msg).SetQuestion("six.test.", dns.TypeAAAA)); !errors.Is(err, errSilent) {
				return r, err
			}
			silent = true
		}
		return r, err
	}
	good := newServer(Upstream{Addr: at, Via: TLS, Name: "dns.test"})
	defer good.close()
	good.tls.RootCAs = roots
	for range 3 {
		r, err := ask(good)
		if err != nil {
			t.Fatal(err)
		}
		if len(r.Answer) != 1 || !r.AuthenticatedData || !good.trusted() {
			t.Errorf("answer %v, AD %v, believed %v", r.Answer, r.AuthenticatedData, good.trusted())
		}
	}
	if n := connections.Load(); n != 1 && !silent {
		t.Errorf("three questions took %d connections, want one (RFC 7858 3.4)", n)
	}
	other := newServer(Upstream{Addr: at, Via: TLS, Name: "other.test"})
	defer other.close()
	other.tls.RootCAs = roots
	stranger := newServer(Upstream{Addr: at, Via: TLS, Name: "dns.test"})
	defer stranger.close()
	stranger.tls.RootCAs = x509.NewCertPool()
	for why, s := range map[string]*server{"other.test": other, "unknown authority": stranger} {
		if r, err := ask(s); err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("want a refusal that says %q: answer %v, error %v", why, r, err)
		}
	}
}
