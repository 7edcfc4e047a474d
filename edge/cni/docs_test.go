package cni_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"hexapod.dev/edge/cni/wire"
	"hexapod.dev/test/cnitest"
)

// docs/cni.md says what the code does: every code with its message, every default, and an example that a runtime accepts.
func TestDocs(t *testing.T) {
	text, err := os.ReadFile("../../docs/cni.md")
	if err != nil {
		t.Fatal(err)
	}
	page := string(text)
	for code := range wire.Code(120) {
		row := fmt.Sprintf("| %d | %s |", code, code.Title())
		named := code.Title() != wire.Code(0).Title() || code == wire.CodeFailed
		if strings.Contains(page, row) != named {
			t.Errorf("the row %q is in docs/cni.md: %v, want %v", row, !named, named)
		}
	}
	for _, row := range []string{
		fmt.Sprintf("| `runDir` | text | `%s` |", wire.DefaultRunDir),
		fmt.Sprintf("| `stateDir` | text | `%s` |", wire.DefaultStateDir),
		fmt.Sprintf("| `agentWaitMillis` | number | %d |", wire.DefaultWaitMillis),
		fmt.Sprintf("1 to %d |", wire.MaxWaitMillis),
		fmt.Sprintf("| `restartMillis` | number | %d |", wire.DefaultRestartMillis),
		fmt.Sprintf("0 to %d |", wire.MaxRestartMillis),
		fmt.Sprintf("at most %d bytes |", wire.MaxContainerID),
		"`RUNDIR/" + wire.SocketName + "`", "`RUNDIR/" + wire.AliveName + "`", "`STATEDIR/" + wire.TombstoneDir + "/CONTAINER:INTERFACE.json`",
	} {
		if !strings.Contains(page, row) {
			t.Errorf("docs/cni.md lacks %q", row)
		}
	}
	_, example, _ := strings.Cut(page, "```json\n")
	example, _, _ = strings.Cut(example, "```")
	if _, err := cnitest.New([]byte(example), t.TempDir(), plugins); err != nil {
		t.Errorf("the example conflist: %v\n%s", err, example)
	}
}
