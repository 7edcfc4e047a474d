package docs

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	commandCall  = regexp.MustCompile("(?m)(?:`|`bin/|/bin/|^)hexapod ([a-z][a-z0-9]*)")
	commandName  = regexp.MustCompile(`(?m)^\t\t\{name: "([a-z][a-z0-9]*)"`)
	localRequest = regexp.MustCompile(`HandleFunc\("[A-Z]+ (/[^"]+)"`)
	flagName     = regexp.MustCompile(`f\.[A-Za-z0-9]*Var\([^,]+, "([a-z-]+)"`)
)

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, path))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// names are the first groups of all matches.
func names(re *regexp.Regexp, text string) map[string]bool {
	found := make(map[string]bool)
	for _, m := range re.FindAllStringSubmatch(text, -1) {
		found[m[1]] = true
	}
	return found
}

// TestCommandsExist looks up every `hexapod VERB` of the documents in the command table.
func TestCommandsExist(t *testing.T) {
	have := names(commandName, read(t, "cmd/hexapod/main.go"))
	if !have["version"] {
		t.Fatalf("the command table was not found in cmd/hexapod/main.go: %v", have)
	}
	texts := documents(t)
	texts["deploy/hexapod.service"] = read(t, "deploy/hexapod.service")
	for path, text := range texts {
		for verb := range names(commandCall, text) {
			if !have[verb] {
				t.Errorf("%s: hexapod %s: no such command", path, verb)
			}
		}
	}
}

// TestLocalAPIIsTold: docs/agent.md names every request that the agent answers on its socket.
func TestLocalAPIIsTold(t *testing.T) {
	page := read(t, "docs/agent.md")
	files, err := filepath.Glob(filepath.Join(root, "agent/local/*.go"))
	if err != nil {
		t.Fatal(err)
	}
	requests := 0
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for path := range names(localRequest, string(text)) {
			requests++
			if !strings.Contains(page, path+"`") && !strings.Contains(page, path+"?") {
				t.Errorf("docs/agent.md does not tell of %s (%s)", path, file)
			}
		}
	}
	if requests < 10 {
		t.Errorf("only %d requests found", requests)
	}
}

// TestUnitFlagsExist: the unit starts the agent with flags it has.
func TestUnitFlagsExist(t *testing.T) {
	have := names(flagName, read(t, "cmd/hexapod/agent.go"))
	var seen int
	for line := range strings.Lines(read(t, "deploy/hexapod.service")) {
		if !strings.HasPrefix(line, "ExecStart=") {
			continue
		}
		for _, word := range strings.Fields(line) {
			if name, ok := strings.CutPrefix(word, "--"); ok {
				seen++
				if !have[name] {
					t.Errorf("deploy/hexapod.service: --%s: hexapod agent has no such flag", name)
				}
			}
		}
	}
	if seen == 0 {
		t.Error("deploy/hexapod.service: no flag found in ExecStart")
	}
}
