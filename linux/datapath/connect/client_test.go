package connect

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"hexapod.dev/linux/netns"
	"hexapod.dev/linux/netns/netnstest"
)

// The test binary is also the client that lives in a cgroup: sockets belong to the cgroup of the process that made them.
const clientEnv = "HEXAPOD_TEST_CONNECT_CLIENT"

func TestMain(m *testing.M) {
	if os.Getenv(clientEnv) != "" {
		os.Exit(serveClient())
	}
	os.Exit(m.Run())
}

// order is one thing to do for the client.
type order struct {
	Do    string // connect, send, recv, peer, close, burst
	Type  string // tcp, udp
	Sock  int    // which socket of earlier orders, from 0
	V6Any bool   // use an IPv6 socket for an IPv4 address, by the mapped one
	To    netip.AddrPort
	Times int
}

// outcome is what came of it.
type outcome struct {
	Err  string // name of the errno; empty: none
	Sock int
	From netip.AddrPort
}

func serveClient() int {
	in, out := json.NewDecoder(bufio.NewReader(os.Stdin)), json.NewEncoder(os.Stdout)
	var socks []int
	for {
		var o order
		if in.Decode(&o) != nil {
			return 0
		}
		result := outcome{Sock: o.Sock}
		var err error
		switch o.Do {
		case "open":
			var fd int
			if fd, err = openSocket(o); err == nil {
				socks = append(socks, fd)
				result.Sock = len(socks) - 1
			}
		case "connect":
			err = unix.Connect(socks[o.Sock], sockaddr(o))
		case "send":
			err = unix.Sendto(socks[o.Sock], []byte("x"), 0, sockaddr(o))
		case "write":
			_, err = unix.Write(socks[o.Sock], []byte("x"))
		case "recv":
			result.From, err = receive(socks[o.Sock])
		case "peer":
			var sa unix.Sockaddr
			if sa, err = unix.Getpeername(socks[o.Sock]); err == nil {
				result.From = addrOf(sa)
			}
		case "close":
			err = unix.Close(socks[o.Sock])
		case "burst":
			err = burst(o)
		default:
			err = unix.ENOSYS
		}
		if err != nil {
			result.Err = err.Error()
			var e unix.Errno
			if errors.As(err, &e) {
				result.Err = unix.ErrnoName(e)
			}
		}
		if out.Encode(result) != nil {
			return 1
		}
	}
}

func openSocket(o order) (int, error) {
	family, typ := unix.AF_INET6, unix.SOCK_STREAM
	if o.To.Addr().Is4() && !o.V6Any {
		family = unix.AF_INET
	}
	if o.Type == "udp" {
		typ = unix.SOCK_DGRAM
	}
	fd, err := unix.Socket(family, typ|unix.SOCK_CLOEXEC, 0)
	if err == nil {
		err = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 30})
	}
	return fd, err
}

// burst connects, is greeted and closes, many times. A reset instead of a farewell leaves no port in TIME-WAIT (RFC 9293 3.6).
func burst(o order) error {
	for range o.Times {
		fd, err := openSocket(o)
		if err != nil {
			return err
		}
		if err := unix.Connect(fd, sockaddr(o)); err != nil {
			return err
		}
		if _, err := receive(fd); err != nil {
			return err
		}
		if err := unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1}); err != nil {
			return err
		}
		if err := unix.Close(fd); err != nil {
			return err
		}
	}
	return nil
}

func receive(fd int) (netip.AddrPort, error) {
	var b [64]byte
	_, sa, err := netnstest.Receive(fd, b[:])
	if err != nil || sa == nil {
		return netip.AddrPort{}, err
	}
	return addrOf(sa), nil
}

func sockaddr(o order) unix.Sockaddr {
	if o.To.Addr().Is4() && !o.V6Any {
		return &unix.SockaddrInet4{Port: int(o.To.Port()), Addr: o.To.Addr().As4()}
	}
	return &unix.SockaddrInet6{Port: int(o.To.Port()), Addr: o.To.Addr().As16()}
}

func addrOf(sa unix.Sockaddr) netip.AddrPort {
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(sa.Addr), uint16(sa.Port))
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(sa.Addr), uint16(sa.Port))
	}
	return netip.AddrPort{}
}

// client is a process in a cgroup and a namespace that does what it is told.
type client struct {
	t   *testing.T
	in  *json.Encoder
	out *json.Decoder
}

func newClient(t *testing.T, ns *netns.NS, cgroup string) *client {
	t.Helper()
	dir, err := os.Open(cgroup)
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	cmd := exec.Command(os.Args[0], "-test.run=^$")
	cmd.Env = append(os.Environ(), clientEnv+"=1", "GODEBUG=asyncpreemptoff=1") // its signals would break off system calls
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(dir.Fd())}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := ns.Do(cmd.Start); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stdin.Close()
		if err := cmd.Wait(); err != nil {
			t.Errorf("the client ended: %v", err)
		}
	})
	return &client{t, json.NewEncoder(stdin), json.NewDecoder(bufio.NewReader(stdout))}
}

// try gives one order.
func (c *client) try(o order) outcome {
	c.t.Helper()
	var r outcome
	if err := c.in.Encode(o); err != nil {
		c.t.Fatal(err)
	}
	if err := c.out.Decode(&r); err != nil {
		c.t.Fatal(err)
	}
	return r
}

// do gives one order that must not fail.
func (c *client) do(o order) outcome {
	c.t.Helper()
	r := c.try(o)
	if r.Err != "" {
		c.t.Fatalf("%+v: %s", o, r.Err)
	}
	return r
}

// connect opens a socket and connects it.
func (c *client) connect(typ string, to netip.AddrPort) (sock int) {
	c.t.Helper()
	sock = c.do(order{Do: "open", Type: typ, To: to}).Sock
	c.do(order{Do: "connect", Sock: sock, To: to})
	return sock
}

// newCgroup makes a cgroup that is gone after the test.
func newCgroup(t testing.TB) string {
	t.Helper()
	root, err := Root()
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp(root, fmt.Sprintf("hexapod-test-%d-", os.Getpid()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.Remove(filepath.Clean(dir)); err != nil {
			t.Error(err)
		}
	})
	return dir
}
