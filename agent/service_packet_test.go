package agent_test

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"hexapod.dev/linux/netns"
	"hexapod.dev/linux/netns/netnstest"
)

const redirected = `
---
apiVersion: hexapod.dev/v1alpha1
kind: Service
metadata: {name: web}
spec:
  addresses: ["2001:db8:f::1"]
  ports: [{name: http, port: 80, targetPort: 8080}, {name: other, port: 81, targetPort: 8080}, {name: none, port: 82, targetPort: 8082}]
  backends: [{address: %q}]
`

// TestPacketsToServices leads a client that no hook sees: the test is in no cgroup of the host. Ports without a backend refuse it at once.
func TestPacketsToServices(t *testing.T) {
	t.Parallel()
	h := withServices(t)
	client, to := servedPair(t, h)
	c, err := dial(t, client, to, 80, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if !answers(t, c, time.Minute) {
		t.Error("the service does not answer a client whose packets are led")
	}
	if c.RemoteAddr().String() != "[2001:db8:f::1]:80" {
		t.Errorf("the client talks to %s, want the service", c.RemoteAddr())
	}
	if _, err := dial(t, client, to, 83, time.Minute); err == nil || !strings.Contains(err.Error(), "refused") {
		t.Errorf("a port that the service does not have: %v, want a refusal", err)
	}
}

// TestRedirectOfItsOwn adds a redirect to an endpoint that runs, as a sidecar proxy does: the proxy sees the service's address, and what
// the redirect leaves alone still reaches the backend.
func TestRedirectOfItsOwn(t *testing.T) {
	h := withServices(t)
	join(t, h.cgroup)
	client, to := servedPair(t, h)
	c, err := dial(t, client, to, 80, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	if !answers(t, c, time.Minute) {
		t.Error("the service does not answer")
	}
	c.Close()
	if n := h.calls("connect"); n == 0 {
		t.Error("no hook led the client: the test proves nothing")
	}
	saw := proxy(t, client, "15001")
	ns, err := netns.Open(client)
	if err != nil {
		t.Fatal(err)
	}
	defer ns.Close()
	for _, line := range []string{"ip link set lo up", "nft add table ip6 sidecar", "nft add chain ip6 sidecar out { type nat hook output priority -100 ; }",
		"nft add rule ip6 sidecar out tcp dport 80 redirect to :15001"} {
		netnstest.Run(t, ns, line)
	}
	until(t, "the proxy sees the service", func() bool {
		c, err := dial(t, client, to, 80, time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		select {
		case got := <-saw:
			return got == "[2001:db8:f::1]:80"
		case <-time.After(lost): // it was led before it reached the rule
			return false
		}
	})
	before := h.calls("bypass")
	c, err = dial(t, client, to, 81, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if !answers(t, c, time.Minute) || c.RemoteAddr().String() != "[2001:db8:f::1]:81" {
		t.Errorf("what the redirect leaves alone does not reach the backend as %s", c.RemoteAddr())
	}
	if h.calls("bypass") == before {
		t.Error("the hook led a client that it should leave alone")
	}
}

// servedPair starts a host with a client and a service whose backend answers, and returns the client's namespace and the service.
func servedPair(t *testing.T, h *host) (client string, to netip.Addr) {
	t.Helper()
	h.configure(plan)
	a := h.start()
	web, db := h.endpoint("web"), h.endpoint("db")
	if _, err := a.Add(t.Context(), web); err != nil {
		t.Fatal(err)
	}
	got, err := a.Add(t.Context(), db)
	if err != nil {
		t.Fatal(err)
	}
	echo(t, db.NetNS, "8080")
	h.configure(plan + fmt.Sprintf(redirected, got.Addrs[0]))
	until(t, "the service is served", func() bool {
		list, err := h.client().Services(t.Context())
		return err == nil && len(list) == 3 && list[0].Why == ""
	})
	return web.NetNS, netip.MustParseAddr("2001:db8:f::1")
}

// join makes the test a process of a cgroup, until it ends.
func join(t *testing.T, cgroup string) {
	t.Helper()
	enter := func(dir string) error {
		return os.WriteFile(filepath.Join(dir, "cgroup.procs"), fmt.Append(nil, os.Getpid()), 0)
	}
	if err := enter(cgroup); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := enter(filepath.Dir(cgroup)); err != nil {
			t.Error(err)
		}
	})
}

// calls is a counter of calls to services, as the metrics have it.
func (h *host) calls(result string) (n int) {
	h.t.Helper()
	text, err := h.client().Metrics(h.t.Context())
	if err != nil {
		h.t.Fatal(err)
	}
	for _, line := range strings.Split(text, "\n") {
		if v, ok := strings.CutPrefix(line, fmt.Sprintf("hexapod_service_calls_total{result=%q} ", result)); ok {
			fmt.Sscan(v, &n)
		}
	}
	return n
}

// proxy listens in a namespace and tells where those that reach it wanted to go.
func proxy(t *testing.T, path, port string) <-chan string {
	t.Helper()
	var l net.Listener
	within(t, path, func() (err error) {
		l, err = net.Listen("tcp6", "[::]:"+port)
		return err
	})
	t.Cleanup(func() { l.Close() })
	saw := make(chan string, 100)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			saw <- originalDestination(c.(*net.TCPConn))
			c.Close()
		}
	}()
	return saw
}

// originalDestination asks as proxies do (IP6T_SO_ORIGINAL_DST of linux/netfilter_ipv6/ip6_tables.h).
func originalDestination(c *net.TCPConn) string {
	const originalDst = 80
	raw, err := c.SyscallConn()
	if err != nil {
		return err.Error()
	}
	var at unix.RawSockaddrInet6
	length := uint32(unsafe.Sizeof(at))
	var errno syscall.Errno
	err = raw.Control(func(fd uintptr) {
		_, _, errno = unix.Syscall6(unix.SYS_GETSOCKOPT, fd, unix.SOL_IPV6, originalDst, uintptr(unsafe.Pointer(&at)), uintptr(unsafe.Pointer(&length)), 0)
	})
	if err != nil || errno != 0 {
		return fmt.Sprint(err, errno)
	}
	var be [2]byte
	binary.NativeEndian.PutUint16(be[:], at.Port)
	return netip.AddrPortFrom(netip.AddrFrom16(at.Addr), binary.BigEndian.Uint16(be[:])).String()
}
