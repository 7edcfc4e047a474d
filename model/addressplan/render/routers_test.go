package render

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// The configurations of a host, its ToR and the spine fit each other: sessions come up without any address on the links, each
// side takes what the other sends, and the host reaches the spine.
func TestWrittenRoutersReachEachOther(t *testing.T) {
	p := labPlan()
	bird, unshare := program(t, "bird", "bird2"), program(t, "unshare", "util-linux")
	for _, tool := range [][2]string{{"ip", "iproute2"}, {"ping", "iputils-ping"}, {"sysctl", "procps"}} {
		program(t, tool[0], tool[1])
	}
	inNamespace(t, nil) // says whether namespaces can be made here
	dir := t.TempDir()
	for name, s := range map[string]Scope{"host": {Host: "h2"}, "tor": {Rack: "c0/r1"}, "spine": {Spine: 1}} {
		text := mustRender(t, p, BIRD, s, Options{})[0].Text
		if err := os.WriteFile(filepath.Join(dir, name+".conf"), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	v := view{p, Options{}.withDefaults()}
	host, err1 := v.router(Scope{Host: "h2"})
	tor, err2 := v.router(Scope{Rack: "c0/r1"})
	spine, err3 := v.router(Scope{Spine: 1})
	if err1 != nil || err2 != nil || err3 != nil {
		t.Fatal(err1, err2, err3)
	}
	// --kill-child: the daemons end with the script, whatever becomes of it.
	out, err := exec.Command(unshare, "--map-root-user", "--net", "--mount", "--pid", "--fork", "--kill-child", "/bin/sh", "testdata/routers.sh", dir, bird,
		host.Loopback.String(), tor.Loopback.String(), spine.Loopback.String()).CombinedOutput()
	if err != nil {
		t.Errorf("the host does not reach the spine: %v\n%s", err, out)
	}
}
