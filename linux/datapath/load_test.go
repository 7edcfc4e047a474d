package datapath

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/google/go-cmp/cmp"

	"hexapod.dev/linux/netns/netnstest"
)

// TestInstructions compares the size of each program with what was written down: who makes one larger should notice.
func TestInstructions(t *testing.T) {
	const golden = "testdata/instructions.txt"
	var b strings.Builder
	for _, load := range []func() (*ebpf.CollectionSpec, error){loadStub, loadJudge} {
		spec, err := load()
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"stub_from_endpoint", "stub_from_uplink", "stub_to_endpoint", "judge"} {
			if p := spec.Programs[name]; p != nil {
				fmt.Fprintf(&b, "%s %d\n", name, len(p.Instructions))
			}
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Error(err)
	}
	if d := cmp.Diff(string(want), b.String()); d != "" {
		t.Errorf("write the new counts to %s if they are worth it (-want +have):\n%s", golden, d)
	}
}

// TestVerifier lets the kernel look at every program.
func TestVerifier(t *testing.T) {
	netnstest.Root(t)
	for _, load := range []func() (*ebpf.CollectionSpec, error){loadStub, judgeToCompare} {
		spec, err := load()
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range spec.Maps {
			m.Pinning = ebpf.PinNone
		}
		c, err := ebpf.NewCollection(spec)
		var refused *ebpf.VerifierError
		if errors.As(err, &refused) {
			t.Fatalf("%+v", refused)
		}
		if err != nil {
			t.Fatal(err)
		}
		c.Close()
	}
}
