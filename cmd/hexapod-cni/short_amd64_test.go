package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"hexapod.dev/edge/cni/wire"
)

func build(t *testing.T, ldflags string) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), "hexapod-cni")
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags", ldflags, "-o", program, ".")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	return program
}

// TestShortWayNeedsNoRuntime looks at the machine code of the short way: it calls itself, system calls, and nothing of the runtime that
// allocates or grows a stack. What reports a bug of ours may be there: it would end the program.
func TestShortWayNeedsNoRuntime(t *testing.T) {
	out, err := exec.Command("go", "tool", "objdump", "-s", `^(shortEntry|main\.goShort|main\.short.*|main\.plain|main\.\(\*shortWay\).*)$`, build(t, "-E shortEntry")).Output()
	if err != nil {
		t.Fatal(err)
	}
	fine := regexp.MustCompile(`^(main\.(goShort|short.*|plain|\(\*shortWay\).*)|syscall\.RawSyscall6?|runtime\.(memequal|panic.*|gcWriteBarrier\d))(\.abi0)?\(SB\)`)
	seen, in := map[string]bool{}, ""
	for line := range strings.Lines(string(out)) {
		line = strings.TrimSpace(line)
		if name, ok := strings.CutPrefix(line, "TEXT "); ok {
			in, _, _ = strings.Cut(name, "(SB)")
			seen[in] = true
		}
		if in == "main.(*shortWay).rest" { // of the long way
			continue
		}
		if _, callee, ok := strings.Cut(line, "CALL "); ok && !fine.MatchString(callee) {
			t.Errorf("%s calls %s", in, callee)
		}
	}
	for _, name := range []string{"shortEntry", "main.goShort", "main.(*shortWay).scan", "main.(*shortWay).exchange", "main.(*shortWay).rest"} {
		if !seen[name] {
			t.Errorf("%s is not in the program; there are %v", name, seen)
		}
	}
}

// TestShortWay executes both programs against one listener: the same request arrives, the same is printed, and only the long way has
// a runtime with its threads.
func TestShortWay(t *testing.T) {
	programs := map[string]string{"short": build(t, "-E shortEntry"), "long": build(t, "")}
	run := t.TempDir()
	config := fmt.Sprintf("{\n  \"cniVersion\": \"1.1.0\", \"name\": \"n\", \"type\": \"hexapod-cni\",\n  \"runDir\": %q, \"args\": {\"cni\": [1, {\"a\": null}]}\n}\n", run)
	request := wire.Request{Command: "ADD", ContainerID: "c", NetNS: "/run/netns/x", IfName: "eth0", Args: "A=b;C=d", Path: "/x:/y", Config: []byte(config)}
	for _, c := range []struct {
		answer, printed string
		exit            int
	}{
		{`{"exit":0,"stdout":{"ips":[]}}` + "\n", `{"ips":[]}` + "\n", 0},
		{`{"exit":0,"stdout":null}` + "\n", "", 0},
		{`{"exit":1,"stdout":{"code":7}}` + "\n", `{"code":7}` + "\n", 1},
		{`{"exit":0,"stdout":{"a":"` + strings.Repeat("x", shortMost) + `"}}` + "\n", `{"a":"` + strings.Repeat("x", shortMost) + `"}` + "\n", 0},
	} {
		for way, program := range programs {
			listener, err := net.Listen("unix", filepath.Join(run, wire.SocketName))
			if err != nil {
				t.Fatal(err)
			}
			plugin := exec.CommandContext(t.Context(), program)
			plugin.Env = []string{"CNI_COMMAND=ADD", "CNI_CONTAINERID=c", "CNI_NETNS=/run/netns/x", "CNI_IFNAME=eth0", "CNI_ARGS=A=b;C=d",
				"CNI_PATH=/x:/y"}
			plugin.Stdin = strings.NewReader(config)
			threads := make(chan string, 2)
			go func() {
				for {
					conn, err := listener.Accept()
					if err != nil {
						return
					}
					line, err := bufio.NewReader(conn).ReadString('\n')
					if want := string(request.Append(nil)); line != want || err != nil {
						t.Errorf("%s: request %q, %v, want %q", way, line, err, want)
					}
					threads <- threadsOf(plugin.Process.Pid)
					conn.Write([]byte(c.answer))
					conn.Close()
				}
			}()
			var stdout strings.Builder
			plugin.Stdout = &stdout
			err = plugin.Run()
			if stdout.String() != c.printed || plugin.ProcessState.ExitCode() != c.exit {
				t.Errorf("%s: %.60q: printed %.60q, exit %v, want %.60q, %d", way, c.answer, stdout.String(), err, c.printed, c.exit)
			}
			if n := <-threads; (n == "1") != (way == "short") {
				t.Errorf("%s: %s threads", way, n)
			}
			listener.Close()
		}
	}
}

func threadsOf(pid int) string {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return err.Error()
	}
	_, after, _ := strings.Cut(string(status), "\nThreads:\t")
	n, _, _ := strings.Cut(after, "\n")
	return n
}

// TestShortWayGivesUp: what is not plain is left to the long way, with all of standard input.
func TestShortWayGivesUp(t *testing.T) {
	program := build(t, "-E shortEntry")
	nobody := filepath.Join(t.TempDir(), "nobody")
	long := `{"cniVersion":"1.1.0","name":"n","runDir":"` + nobody + `","agentWaitMillis":1,"more":"` + strings.Repeat("m", 2*shortMost) + `"}`
	for _, c := range []struct {
		command, config, words string
	}{
		{"ADD", `{"cniVersion":"1.1.0","runDir":"` + nobody + `","agentWaitMillis":1}`, "no agent listens on"},
		{"ADD", long, "no agent listens on"},
		{"ADD", `{"cniVersion":"1.1.0","runDir":"relative"}`, "runDir: not an absolute path"},
		{"ADD", `{"cniVersion":"1.1.0"`, "network configuration"},
		{"VERSION", `{"cniVersion":"1.1.0"}`, `"supportedVersions":["0.4.0","1.0.0","1.1.0"]`},
		{"PAINT", `{"cniVersion":"1.1.0"}`, "CNI_COMMAND is"},
	} {
		plugin := exec.CommandContext(t.Context(), program)
		plugin.Env, plugin.Stdin = []string{"CNI_COMMAND=" + c.command}, strings.NewReader(c.config)
		plugin.WaitDelay = 30 * time.Second
		if out, _ := plugin.Output(); !strings.Contains(string(out), c.words) {
			t.Errorf("%s with %.80s: printed %s, want %q", c.command, c.config, out, c.words)
		}
	}
}

// FuzzShortWay compares both ways on a configuration: where the short one is taken, it leads to the same socket with the same request,
// and what the long one would refuse is no JSON, so that the agent refuses it.
func FuzzShortWay(f *testing.F) {
	for _, seed := range []string{
		`{"cniVersion":"1.1.0","name":"n","runDir":"/r","stateDir":"/s","a":[{"runDir":"/x"}]}`, `{"runDir":"/a","runDir":"/b"}`, `{"runDir":"r"}`,
		`{"cniVersion":1}`, `{"agentWaitMillis":7}`, "{\n\"a\":\"b\\n\"}\r\n", `{"a":1},"command":"DEL","b":{"c":2}`, `{"a":[1},"command":"DEL"]`, `{"a":"é"}`,
		`{"stateDir":null}`, `{"x":"runDir" : "/y"}`, `{"runDir" : "/y"} x`, `{`, ``, `{"runDir":"/` + strings.Repeat("r", 110) + `"}`,
	} {
		f.Add(seed, "args")
	}
	f.Fuzz(func(t *testing.T, config, args string) {
		if len(config) > shortMost || strings.Contains(args, "\x00") {
			return // longer than the short way takes, or no value of a variable
		}
		w := &shortWay{read: len(config), ended: true}
		copy(w.input[:], config)
		values := shortValues{"ADD", "c", "/n", "eth0", args, "/p"}
		if !w.scan() || !w.compose(&values) {
			return
		}
		line := w.request[:w.length]
		s, err := parseSettings([]byte(config))
		if err != nil {
			if json.Valid(line) {
				t.Fatalf("%q: the long way refuses it (%s), and it goes the short way as %q", config, err.details, line)
			}
			return
		}
		r := wire.Request{Command: "ADD", ContainerID: "c", NetNS: "/n", IfName: "eth0", Args: args, Path: "/p", Config: []byte(config)}
		if want := string(r.Append(nil)); string(line) != want {
			t.Fatalf("request\n%q, want\n%q", line, want)
		}
		var path []byte
		for _, c := range w.agent.Path {
			if c != 0 {
				path = append(path, byte(c))
			}
		}
		if string(path) != s.socket || s.waitMillis != wire.DefaultWaitMillis {
			t.Fatalf("%q: socket %q, want %q, and wait %d", config, path, s.socket, s.waitMillis)
		}
	})
}
