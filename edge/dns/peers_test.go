package dns

import (
	"bytes"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// peer is another DNS64, beside which ours is put.
type peer struct {
	name    string
	program string
	config  string // of the port to answer on and the one to ask on
	args    []string
}

var peers = []peer{
	{"unbound", "unbound", `server:
  interface: ::1@%[1]d
  port: %[1]d
  do-daemonize: no
  chroot: ""
  username: ""
  pidfile: ""
  use-syslog: no
  directory: "."
  num-threads: 1
  access-control: ::1 allow
  do-not-query-localhost: no
  qname-minimisation: no
  module-config: "dns64 iterator"
  dns64-prefix: 64:ff9b::/96
  local-zone: "test." nodefault
forward-zone:
  name: "."
  forward-addr: ::1@%[2]d
`, []string{"-d", "-c"}},
	{"bind9", "named", `options {
  directory ".";
  listen-on { none; };
  listen-on-v6 port %[1]d { ::1; };
  forwarders port %[2]d { ::1; };
  forward only;
  recursion yes;
  allow-query { any; };
  dnssec-validation no;
  empty-zones-enable no;
  pid-file none;
  session-keyfile none;
  dns64 64:ff9b::/96 { clients { any; }; };
};
controls { };
`, []string{"-f", "-n", "1", "-c"}},
}

// start runs the peer until the test ends and returns a client of it.
func (p peer) start(t *testing.T, upstream uint16) func(m *dns.Msg) *dns.Msg {
	t.Helper()
	path, err := exec.LookPath(p.program)
	if err != nil {
		path, err = exec.LookPath("/usr/sbin/" + p.program)
	}
	if err != nil {
		if os.Getenv("HEXAPOD_ROOT") == "1" {
			t.Fatalf("%s is missing: see test/packages.txt", p.program)
		}
		t.Skipf("%s is missing", p.program)
	}
	udp, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.MustParseAddrPort("[::1]:0")))
	if err != nil {
		t.Fatal(err)
	}
	at := udp.LocalAddr().(*net.UDPAddr).AddrPort()
	udp.Close()
	dir := t.TempDir()
	conf := filepath.Join(dir, "conf")
	if err := os.WriteFile(conf, fmt.Appendf(nil, p.config, at.Port(), upstream), 0o644); err != nil {
		t.Fatal(err)
	}
	var said bytes.Buffer
	cmd := exec.Command(path, append(slices.Clone(p.args), conf)...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, &said, &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { defer close(ended); _ = cmd.Wait() }()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		if <-ended; t.Failed() {
			t.Logf("%s: %s", p.name, said.String())
		}
	})
	exchange := func(m *dns.Msg, patience time.Duration) (*dns.Msg, error) {
		c := dns.Client{Timeout: patience, UDPSize: 65535}
		r, _, err := c.Exchange(m, at.String())
		return r, err
	}
	up := new(dns.Msg).SetQuestion("up.test.", dns.TypeTXT)
	for deadline := time.Now().Add(time.Minute); ; { // it tells nobody when it is up: the first answer does
		if _, err := exchange(up, time.Second); err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s does not answer: %s", p.name, said.String())
		}
		select {
		case <-ended:
			t.Fatalf("%s ended: %s", p.name, said.String())
		case <-time.After(50 * time.Millisecond):
		}
	}
	return func(m *dns.Msg) *dns.Msg {
		r, err := exchange(m, 30*time.Second)
		if err != nil {
			return nil
		}
		return r
	}
}

// told is the answer as it is compared: the code and the records in any order, with their times.
func told(m *dns.Msg) string {
	if m == nil {
		return "nothing"
	}
	list := []string{dns.RcodeToString[m.Rcode]}
	if m.Truncated {
		return fmt.Sprintf("%s | TC | %d records", list[0], len(m.Answer))
	}
	if m.AuthenticatedData {
		list = append(list, "AD")
	}
	for _, rr := range m.Answer {
		rr.Header().Ttl = whole(rr.Header().Ttl)
		list = append(list, strings.Join(strings.Fields(dns.CanonicalName(rr.Header().Name)+strings.TrimPrefix(rr.String(), rr.Header().Name)), " "))
	}
	slices.Sort(list[1:])
	return strings.Join(list, " | ")
}

// whole is the time that a record had before it was remembered for a moment.
func whole(ttl uint32) uint32 {
	for _, w := range []uint32{30, 60, 300, 600, 3600} {
		if ttl <= w && w < ttl+20 {
			return w
		}
	}
	return ttl
}
