package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"hexapod.dev/edge/cni/wire"
)

// maxSize is what the program may weigh in bytes: it is started for every endpoint, and its pages are read from disk the first time.
const maxSize = 3_000_000

func TestSize(t *testing.T) {
	for arch, entry := range map[string]string{"amd64": " -E shortEntry", "arm64": ""} {
		program := filepath.Join(t.TempDir(), "hexapod-cni")
		build := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w"+entry, "-o", program, ".")
		build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOARCH="+arch)
		if out, err := build.CombinedOutput(); err != nil {
			t.Fatalf("build for %s: %v\n%s", arch, err, out)
		}
		info, err := os.Stat(program)
		if err != nil {
			t.Fatal(err)
		}
		if info.Size() >= maxSize {
			t.Errorf("hexapod-cni for %s has %d bytes, must stay under %d", arch, info.Size(), maxSize)
		}
		t.Logf("%s: %d bytes", arch, info.Size())
	}
}

// TestByHand: a person who types the name of the plugin is told what it is, and is not waited for.
func TestByHand(t *testing.T) {
	program := filepath.Join(t.TempDir(), "hexapod-cni")
	if out, err := exec.Command("go", "build", "-o", program, ".").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	keyboard, typing, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer keyboard.Close()
	defer typing.Close() // open and silent as long as the plugin runs
	plugin := exec.CommandContext(t.Context(), program)
	plugin.Env, plugin.Stdin = []string{"PATH=/usr/bin"}, keyboard
	out, err := plugin.Output()
	if code := plugin.ProcessState.ExitCode(); code != 1 || !strings.Contains(string(out), `"code":4`) || !strings.Contains(string(out), "CNI_COMMAND is not set") {
		t.Errorf("exit %d, %v: %s", code, err, out)
	}
}

// What a package does at its start is paid for at every execution, so what is linked is a decision.
func TestImports(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", ".").Output()
	if err != nil {
		t.Fatal(err)
	}
	deps := strings.Fields(string(out))
	if len(deps) < 10 {
		t.Fatalf("only %v", deps)
	}
	costly := map[string]bool{"os": true, "fmt": true, "net": true, "encoding/json": true, "reflect": true, "time": true, "crypto/sha256": true}
	for _, dep := range deps {
		first, _, _ := strings.Cut(dep, "/")
		switch {
		case dep == "hexapod.dev/cmd/hexapod-cni" || dep == "hexapod.dev/edge/cni/wire":
		case strings.Contains(first, "."):
			t.Errorf("links %s, which is not of the standard library", dep)
		case costly[dep]:
			t.Errorf("links %s, which costs time at every start", dep)
		}
	}
}

func TestSettings(t *testing.T) {
	defaults := settings{"1.1.0", "/run/hexapod/cni.sock", "/run/hexapod/alive", "/var/lib/hexapod", 10_000, 120_000}
	for _, c := range []struct {
		config string
		want   settings
		code   wire.Code // 0: fine
	}{
		{`{"cniVersion":"1.1.0"}`, defaults, 0},
		{`{"cniVersion":"1.1.0","plugins":{"runDir":"/elsewhere"},"unknown":[{"stateDir":1}]}`, defaults, 0},
		{`{"cniVersion":"1.0.0","runDir":"/r","stateDir":"\u002fs\n","agentWaitMillis":1,"restartMillis":0}`,
			settings{"1.0.0", "/r/cni.sock", "/r/alive", "/s\n", 1, 0}, 0},
		{`{"runDir":"/first","runDir":"/last"}`, settings{"", "/last/cni.sock", "/last/alive", "/var/lib/hexapod", 10_000, 120_000}, 0},
		{`{"runDir":"run"}`, settings{}, wire.CodeInvalidConfig},
		{`{"runDir":""}`, settings{}, wire.CodeInvalidConfig},
		{`{"runDir":"/a\u0000b"}`, settings{}, wire.CodeInvalidConfig},
		{`{"runDir":"/` + strings.Repeat("r", 97) + `"}`, settings{}, 0},
		{`{"runDir":"/` + strings.Repeat("r", 98) + `"}`, settings{}, wire.CodeInvalidConfig},
		{`{"stateDir":null}`, settings{}, wire.CodeInvalidConfig},
		{`{"agentWaitMillis":60000}`, settings{}, 0},
		{`{"agentWaitMillis":60001}`, settings{}, wire.CodeInvalidConfig},
		{`{"agentWaitMillis":0}`, settings{}, wire.CodeInvalidConfig},
		{`{"agentWaitMillis":1.5}`, settings{}, wire.CodeInvalidConfig},
		{`{"agentWaitMillis":"1"}`, settings{}, wire.CodeInvalidConfig},
		{`{"restartMillis":-1}`, settings{}, wire.CodeInvalidConfig},
		{`{"cniVersion":1}`, settings{}, wire.CodeDecode},
		{`{"cniVersion":"1.1.0"`, settings{}, wire.CodeDecode},
		{``, settings{}, wire.CodeDecode},
	} {
		got, err := parseSettings([]byte(c.config))
		var code wire.Code
		if err != nil {
			code = err.code
		}
		if code != c.code {
			t.Errorf("%s: code %d (%v), want %d", c.config, code, err, c.code)
		}
		if c.want != (settings{}) && got != c.want {
			t.Errorf("%s:\n got %+v\nwant %+v", c.config, got, c.want)
		}
	}
}

func TestMakeFolder(t *testing.T) {
	top := t.TempDir()
	deep := filepath.Join(top, "a", "b", "c")
	for range 2 {
		if err := makeFolder(deep); err != nil {
			t.Fatal(err)
		}
	}
	if info, err := os.Stat(deep); err != nil || !info.IsDir() {
		t.Errorf("%v, %v", info, err)
	}
	file := filepath.Join(top, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := makeFolder(filepath.Join(file, "below")); err == nil {
		t.Error("a folder below a file: no error")
	}
}
