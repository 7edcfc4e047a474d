package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func folderWith(t *testing.T, text string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "plan.yaml"), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return dir
}

const smallPlan = `apiVersion: hexapod.dev/v1alpha1
kind: AddressPlan
metadata: {name: lab}
spec: {prefix: "2001:db8:a000::/37", lab: true, clusters: [{name: main, number: 0}]}
`

func TestIdentity(t *testing.T) {
	dir := folderWith(t, smallPlan)
	out, _ := call(t, exitOK, "identity", "add", "--config", dir, "--namespace", "shop", "app=web", "tier=front")
	if want := "identity 256 (0x0100) is now that of shop app=web tier=front\nCopy identities.yaml to the other hosts; agents see it by themselves.\n"; out != want {
		t.Errorf("got %q, want %q", out, want)
	}
	out, _ = call(t, exitOK, "identity", "add", "--config", dir, "--namespace", "shop", "tier=front", "app=web", "pod-template-hash=5d4f")
	if want := "identity 256 (0x0100) is already that of shop app=web tier=front\n"; out != want {
		t.Errorf("got %q, want %q", out, want)
	}
	out, _ = call(t, exitOK, "identity", "add", "--config", dir, "-o", "json", "app=db")
	var row identityRow
	if err := json.Unmarshal([]byte(out), &row); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(identityRow{Number: 257, Hex: "0101", Labels: map[string]string{"app": "db"}, Added: true}, row); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	out, _ = call(t, exitOK, "identity", "list", "--config", dir)
	if want := "NUMBER  HEX   NAMESPACE  LABELS              STATE\n256     0100  shop       app=web tier=front  in use\n257     0101  -          app=db              in use\n"; out != want {
		t.Errorf("got\n%swant\n%s", out, want)
	}
	out, _ = call(t, exitOK, "identity", "check", "--config", dir)
	if !strings.HasPrefix(out, "2 in use, 0 retired, next 258 (0x0102), fingerprint ") {
		t.Errorf("got %q", out)
	}
	out, _ = call(t, exitOK, "identity", "retire", "--config", dir, "0x0101")
	if want := "identity 257 (0x0101), that of (no namespace) app=db, is out of use\nCopy the folder to the other hosts; agents see it by themselves.\n"; out != want {
		t.Errorf("got %q, want %q", out, want)
	}
	if out, _ = call(t, exitOK, "identity", "check", "--config", dir); !strings.HasPrefix(out, "1 in use, 1 retired, next 258 (0x0102), ") {
		t.Errorf("got %q", out)
	}
	for _, words := range [][]string{{"retire"}, {"retire", "web"}, {"remove"}, {"list", "x"}, {"add", "app"}, {"add", "app=a", "app=b"}, {"list", "-o", "xml"}} {
		call(t, exitUsage, append([]string{"identity"}, words...)...)
	}
	if _, errs := call(t, exitFailed, "identity", "add", "--config", filepath.Join(dir, "gone")); !strings.Contains(errs, "no such file or directory") {
		t.Errorf("got %q", errs)
	}
}

func TestCheck(t *testing.T) {
	dir := folderWith(t, smallPlan)
	out, _ := call(t, exitOK, "check", dir)
	if want := dir + " is right: 0 hosts, 0 pools, 0 identities, 0 fixed addresses, 0 warnings\n"; out != want {
		t.Errorf("got %q, want %q", out, want)
	}
	bad := folderWith(t, strings.Replace(smallPlan, "lab: true, ", "labs: true, ", 1))
	out, errs := call(t, exitFailed, "check", bad)
	lines := bad + "/plan.yaml:4:16: AddressPlan lab: spec.prefix: 2001:db8:a000::/37 is for documentation (RFC 3849); use a prefix of your own, or write lab: true in the spec of the AddressPlan\n" +
		bad + "/plan.yaml:4:38: AddressPlan lab: spec.labs: unknown field; did you mean lab?\n"
	if out != lines || errs != "hexapod check: "+bad+" is refused: 2 errors, 0 warnings\n" {
		t.Errorf("got\n%s%swant\n%s", out, errs, lines)
	}
	out, _ = call(t, exitFailed, "check", "-o", "json", bad)
	var problems []map[string]any
	if err := json.Unmarshal([]byte(out), &problems); err != nil || len(problems) != 2 || problems[1]["field"] != "spec.labs" || problems[1]["line"] != 4.0 {
		t.Errorf("%v: %s", err, out)
	}
	if byFlag, _ := call(t, exitOK, "check", "--config", dir); byFlag != dir+" is right: 0 hosts, 0 pools, 0 identities, 0 fixed addresses, 0 warnings\n" {
		t.Errorf("the folder by its flag: %s", byFlag)
	}
	call(t, exitUsage, "check", dir, dir)
	if _, errs := call(t, exitFailed, "check", filepath.Join(dir, "gone")); !strings.Contains(errs, "no such file or directory") {
		t.Errorf("got %q", errs)
	}
}
