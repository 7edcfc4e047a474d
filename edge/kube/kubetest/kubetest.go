// Package kubetest gives tests a real Kubernetes API server and its etcd, on ports of the loopback and with a folder of their own.
package kubetest

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"
	"testing"
	"time"

	"k8s.io/client-go/rest"

	"hexapod.dev/edge/kube/objects"
)

// Binaries is the variable of the environment that names the folder with etcd and kube-apiserver, which `make cluster` builds.
const Binaries = "HEXAPOD_KUBE_BIN"

// Server is an API server with its store.
type Server struct {
	t      testing.TB
	bin    string
	dir    string // logs, keys and the store
	etcd   process
	api    process
	ports  [3]string // API server, etcd for clients, etcd for peers
	tokens int
}

// patience bounds each wait: hundreds of agents that find their server again keep a machine busy for minutes.
const patience = 5 * time.Minute

// AdminToken belongs to a user who may do everything.
const AdminToken = "admin-token"

// Start brings up a server with our kinds and takes it down when the test ends. Without the programs the test is skipped, or, with
// HEXAPOD_ROOT=1, fails.
func Start(t testing.TB) *Server {
	t.Helper()
	s := &Server{t: t, bin: binaries(t), dir: t.TempDir()}
	for i := range s.ports {
		s.ports[i] = freePort(t)
	}
	s.write("tokens.csv", AdminToken+",admin,admin,\"system:masters\"\n")
	s.write("sa.key", signingKey(t))
	t.Cleanup(s.Stop)
	s.StartStore()
	s.StartAPI()
	return s
}

func binaries(t testing.TB) string {
	t.Helper()
	dir := os.Getenv(Binaries)
	if dir == "" {
		dir = built()
	}
	for _, name := range []string{"etcd", "kube-apiserver"} {
		if _, err := os.Stat(filepath.Join(dir, name)); err == nil {
			continue
		}
		if os.Getenv("HEXAPOD_ROOT") == "1" {
			t.Fatalf("%s is not in %q: build it with make cluster, or name the folder in %s", name, dir, Binaries)
		}
		t.Skipf("%s is not in %q", name, dir)
	}
	return dir
}

// built is the folder of programs that make cluster made last, in the cache of its builds; "" if there is none.
func built() string {
	root := os.Getenv("HEXAPOD_CLUSTER_DIR")
	if cache, err := os.UserCacheDir(); root == "" && err == nil {
		root = filepath.Join(cache, "hexapod-cluster")
	}
	found, err := filepath.Glob(filepath.Join(root, "*", "bin", "kube-apiserver"))
	if err != nil {
		return ""
	}
	newest, at := "", time.Time{}
	for _, file := range found {
		if info, err := os.Stat(file); err == nil && info.ModTime().After(at) {
			newest, at = filepath.Dir(file), info.ModTime()
		}
	}
	return newest
}

func (s *Server) write(name, content string) {
	s.t.Helper()
	if err := os.WriteFile(filepath.Join(s.dir, name), []byte(content), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

// signingKey makes the key of service account tokens.
func signingKey(t testing.TB) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}))
}

// freePort finds a port for a program to listen at. It lies below those that the kernel gives to connections (ip_local_port_range, from 32768), because
// one of these might have it when the program starts.
func freePort(t testing.TB) string {
	t.Helper()
	const first, number = 20_000, 12_000
	for range 100 {
		port := strconv.Itoa(first + mathrand.IntN(number))
		l, err := net.Listen("tcp", net.JoinHostPort("::1", port))
		if errors.Is(err, syscall.EADDRINUSE) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		l.Close()
		return port
	}
	t.Fatalf("100 ports from %d on are all taken", first)
	return ""
}

// StartStore starts etcd on the folder it had.
func (s *Server) StartStore() {
	s.t.Helper()
	client, peer := "http://[::1]:"+s.ports[1], "http://[::1]:"+s.ports[2]
	s.etcd = s.start("etcd", "--data-dir", s.storeDir(), "--listen-client-urls", client, "--advertise-client-urls", client,
		"--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", "default="+peer, "--unsafe-no-fsync")
}

func (s *Server) storeDir() string { return filepath.Join(s.dir, "store") }

// StartAPI starts the API server and waits until it serves.
func (s *Server) StartAPI() {
	s.t.Helper()
	file := func(name string) string { return filepath.Join(s.dir, name) }
	s.api = s.start("kube-apiserver", "--etcd-servers=http://[::1]:"+s.ports[1], "--bind-address=::1", "--secure-port="+s.ports[0],
		"--cert-dir="+file("certs"), "--service-cluster-ip-range=fd00:10:96::/112", "--endpoint-reconciler-type=none",
		"--authorization-mode=Node,RBAC", "--token-auth-file="+file("tokens.csv"), "--disable-admission-plugins=ServiceAccount",
		"--service-account-issuer=https://kubernetes.default.svc", "--service-account-key-file="+file("sa.key"),
		"--service-account-signing-key-file="+file("sa.key"), "--allow-privileged", "--max-requests-inflight=2000", "--max-mutating-requests-inflight=1000")
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	defer cancel()
	h, err := rest.HTTPClientFor(s.Config(AdminToken))
	if err != nil {
		s.t.Fatal(err)
	}
	for !ready(ctx, h, s.Config(AdminToken).Host) {
		select {
		case <-ctx.Done():
			s.t.Fatalf("the API server does not get ready: see the end of its log:\n%s", s.LogTail("kube-apiserver"))
		case <-s.api.ended:
			s.t.Fatalf("the API server ended:\n%s", s.LogTail("kube-apiserver"))
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func ready(ctx context.Context, h *http.Client, base string) bool {
	q, err := http.NewRequestWithContext(ctx, http.MethodGet, base+"/readyz", nil)
	if err != nil {
		return false
	}
	answer, err := h.Do(q)
	if err != nil {
		return false
	}
	defer answer.Body.Close()
	return answer.StatusCode == http.StatusOK
}

// Config returns how to reach the server as the bearer of a token. The connection stays on the loopback, so its certificate is
// not looked at.
func (s *Server) Config(token string) *rest.Config {
	return &rest.Config{Host: "https://[::1]:" + s.ports[0], BearerToken: token, TLSClientConfig: rest.TLSClientConfig{Insecure: true}, UserAgent: "kubetest"}
}

// Client returns a client of the user who may do everything.
func (s *Server) Client() *objects.Client { return s.ClientAs(AdminToken) }

// PatientClient is Client for whoever asks a server that many others keep busy: an answer may take minutes.
func (s *Server) PatientClient() *objects.Client {
	s.t.Helper()
	config := s.Config(AdminToken)
	config.Timeout = patience
	c, err := objects.NewClient(config)
	if err != nil {
		s.t.Fatal(err)
	}
	return c
}

// ClientAs returns a client of the bearer of a token.
func (s *Server) ClientAs(token string) *objects.Client {
	s.t.Helper()
	c, err := objects.NewClient(s.Config(token))
	if err != nil {
		s.t.Fatal(err)
	}
	return c
}

// Kubeconfig writes a kubeconfig for the bearer of a token and returns its path.
func (s *Server) Kubeconfig(token string) string {
	s.t.Helper()
	name := fmt.Sprintf("kubeconfig-%d", s.tokens)
	s.tokens++
	s.write(name, fmt.Sprintf(`apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {server: "https://[::1]:%s", insecure-skip-tls-verify: true}}]
users: [{name: u, user: {token: %q}}]
contexts: [{name: c, context: {cluster: c, user: u}}]
current-context: c
`, s.ports[0], token))
	return filepath.Join(s.dir, name)
}

// StopAPI ends the API server alone.
func (s *Server) StopAPI() { s.api.stop() }

// Stop ends both.
func (s *Server) Stop() {
	s.api.stop()
	s.etcd.stop()
}

// Snapshot copies the store as it is on disk, both programs being stopped meanwhile, and starts them again.
func (s *Server) Snapshot() (copied string) {
	s.t.Helper()
	s.Stop()
	copied = filepath.Join(s.t.TempDir(), "store")
	if err := os.CopyFS(copied, os.DirFS(s.storeDir())); err != nil {
		s.t.Fatal(err)
	}
	s.StartStore()
	s.StartAPI()
	return copied
}

// Restore puts the store back to what Snapshot copied.
func (s *Server) Restore(copied string) {
	s.t.Helper()
	s.Stop()
	err := errors.Join(os.RemoveAll(s.storeDir()), os.CopyFS(s.storeDir(), os.DirFS(copied)))
	if err != nil {
		s.t.Fatal(err)
	}
	s.StartStore()
	s.StartAPI()
}

// process is one of the two programs.
type process struct {
	cmd   *exec.Cmd
	ended <-chan struct{}
}

// Begin starts a program that does not outlive the test process, also if that is killed, and closes ended when the program has ended.
// The kernel ends it with the thread that began it (PR_SET_PDEATHSIG, prctl(2)), and threads that were in other network namespaces end
// in the middle of tests: it has a thread of its own.
func Begin(cmd *exec.Cmd) (ended <-chan struct{}, err error) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	begun, over := make(chan error), make(chan struct{})
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		begun <- err
		if err == nil {
			_ = cmd.Wait() // it is killed in the end; who needs it sees a failure before
		}
		close(over)
	}()
	return over, <-begun
}

func (s *Server) start(name string, args ...string) process {
	s.t.Helper()
	log, err := os.OpenFile(filepath.Join(s.dir, name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		s.t.Fatal(err)
	}
	defer log.Close()
	cmd := exec.Command(filepath.Join(s.bin, name), args...)
	cmd.Stdout, cmd.Stderr = log, log
	ended, err := Begin(cmd)
	if err != nil {
		s.t.Fatal(err)
	}
	return process{cmd, ended}
}

func (p process) stop() {
	if p.cmd == nil {
		return
	}
	_ = p.cmd.Process.Kill() // the error says that it has ended already
	<-p.ended
}

// LogTail returns the end of a program's log.
func (s *Server) LogTail(name string) string {
	data, err := os.ReadFile(filepath.Join(s.dir, name+".log"))
	if err != nil {
		return err.Error()
	}
	return string(data[max(0, len(data)-4000):])
}
