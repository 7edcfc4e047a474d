package demo_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"strings"
	"testing"

	"hexapod.dev/lab"
	"hexapod.dev/lab/demo"
	"hexapod.dev/lab/labtest"
)

func TestMain(m *testing.M) { labtest.Main(m) }

func run(t *testing.T, o demo.Options) (string, error) {
	t.Helper()
	var out bytes.Buffer
	o.Bin, o.Out, o.Report = labtest.Programs(t), &out, func(s string) { t.Log(s) }
	err := demo.Run(t.Context(), o)
	return out.String(), err
}

// testName keeps demonstrations of test programs that run at the same time apart.
func testName(what string) string { return fmt.Sprintf("demo%d-%s", os.Getpid(), what) }

func wantNothing(t *testing.T, name string) {
	t.Helper()
	if left, err := lab.Leftovers(name); err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
}

func TestDemo(t *testing.T) {
	t.Parallel()
	out, err := run(t, demo.Options{Name: testName("test")})
	if err != nil {
		t.Errorf("demo: %v\n%s", err, out)
	}
	wantNothing(t, testName("test"))
	// 12 endpoints and the outside: 13 x 12 ordered pairs.
	if !strings.HasSuffix(out, "\ndemo: 156 pairs, 0 failed, 0 lost\n") {
		t.Errorf("the last line is not that of a success:\n%s", out)
	}
	for _, want := range []string{"r1h1 > tor1 > spine > tor2 > r2h2", "rack2", "0x0100", "What to try next",
		"refused it 12 times: \"default: nobody outside", "kind: Publication", "http://www.four.test:8080/  internet saw 45.65.1.1", "http://[64:ff9b::45.66.0.80]:8080/  internet saw 45.65.1.1",
		"the path: r1h1 > outside > internet (NAT64 on r1h1)", "outside reaches r1h1-e1, r1h2-e1, r2h1-e1, r2h2-e1 by HTTP on port 8080. The other 8 refuse"} {
		if !strings.Contains(out, want) {
			t.Errorf("the report has no %q:\n%s", want, out)
		}
	}
}

func TestBrokenDemoFails(t *testing.T) {
	t.Parallel()
	out, err := run(t, demo.Options{Name: testName("broken"), Break: true})
	if err == nil {
		t.Fatalf("a demonstration without a route succeeded:\n%s", out)
	}
	wantNothing(t, testName("broken"))
	for _, want := range []string{"r1h1-e1 to r2h1-e1, r2h1-e2, r2h1-e3: ping: ", "r2h1-e3 to outside, r1h1-e1, "} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error does not name the pair %q:\n%v", want, err)
		}
	}
	// The three endpoints of r2h1 with the ten others, in both directions.
	if !strings.HasSuffix(out, "\ndemo: 156 pairs, 60 failed, 60 lost\n") {
		t.Errorf("the last line does not count the failures:\n%s", out)
	}
}

func TestKeptDemoStays(t *testing.T) {
	t.Parallel()
	name := testName("kept")
	t.Cleanup(func() {
		if err := lab.Down(context.Background(), name); err != nil {
			t.Error(err)
		}
	})
	if out, err := run(t, demo.Options{Name: name, Keep: true}); err != nil {
		t.Fatalf("demo: %v\n%s", err, out)
	}
	l, err := lab.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if n := len(l.Endpoints()); n != 12 {
		t.Errorf("%d endpoints are left, want 12", n)
	}
}
