package conformance

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const junitFile = `<?xml version="1.0" encoding="UTF-8"?>
<testsuites tests="4"><testsuite name="Kubernetes e2e suite">
<testcase name="[SynchronizedBeforeSuite]" status="passed" time="0.1"></testcase>
<testcase name="[It] [sig-network] DNS should work" status="passed" time="2.5"></testcase>
<testcase name="[It] [sig-apps] is not chosen" status="skipped" time="0"><skipped message="skipped"></skipped></testcase>
<testcase name="[It] [sig-network] Services should be reached" status="failed" time="120"><failure message="timed out&#xA;more" type="failed">long text</failure></testcase>
<testcase name="[It] [sig-network] Services panic" status="panicked" time="1"><error message="nil map" type="panicked"></error></testcase>
</testsuite></testsuites>`

func TestParse(t *testing.T) {
	got, err := parse(strings.NewReader(junitFile))
	if err != nil {
		t.Fatal(err)
	}
	want := Results{
		{Spec: "[sig-network] DNS should work", Passed: true, Seconds: 2.5},
		{Spec: "[sig-network] Services panic", Seconds: 1, Why: "nil map"},
		{Spec: "[sig-network] Services should be reached", Seconds: 120, Why: "timed out"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	var b strings.Builder
	if err := got.Print(&b, "conformance"); err != nil {
		t.Fatal(err)
	}
	if !strings.HasSuffix(b.String(), "\nconformance: 1 of 3 passed\n") || strings.Count(b.String(), "FAIL") != 2 {
		t.Errorf("printed:\n%s", b.String())
	}
}

func TestParseRefusesWhatIsNoResult(t *testing.T) {
	for name, text := range map[string]string{
		"no file at all":          "",
		"nothing ran":             `<testsuites><testsuite></testsuite></testsuites>`,
		"all were skipped":        `<testsuites><testsuite><testcase name="[It] a"><skipped/></testcase></testsuite></testsuites>`,
		"what comes first failed": strings.Replace(junitFile, `status="passed" time="0.1">`, `status="failed" time="0.1"><failure message="no nodes"></failure>`, 1),
	} {
		if r, err := parse(strings.NewReader(text)); err == nil {
			t.Errorf("%s: %v, no error", name, r)
		}
	}
}

func TestComparison(t *testing.T) {
	c := newComparison(TitleOfOthers("v1.2.3"))
	if _, err := c.Worse("hexapod"); err == nil {
		t.Error("nothing to compare with, and no error")
	}
	c.Add("hexapod", "version 1234567, load 2.5", Results{{Spec: "a", Passed: true}, {Spec: "b"}, {Spec: "d", Passed: true}})
	c.Add(Reference, "", Results{{Spec: "a", Passed: true}, {Spec: "b", Passed: true}, {Spec: "c", Passed: true}, {Spec: "d"}})
	var b strings.Builder
	if err := c.Write(&b); err != nil {
		t.Fatal(err)
	}
	want := "# " + TitleOfOthers("v1.2.3") + `
# ptp: 3 of 4 passed
# hexapod: 2 of 3 passed; version 1234567, load 2.5
# columns: ptp hexapod
ok	ok	a
ok	FAIL	b
ok	-	c
FAIL	ok	d
`
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Error(diff)
	}
	again, err := parseComparison(strings.NewReader(b.String()))
	if err != nil {
		t.Fatal(err)
	}
	delete(c.From, Reference) // nothing was said
	if diff := cmp.Diff(c, again); diff != "" {
		t.Error(diff)
	}
	worse, err := c.Worse("hexapod")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"b", "c"}, worse); diff != "" {
		t.Error(diff)
	}
	if _, err := parseComparison(strings.NewReader("ok\tspec\n")); err == nil {
		t.Error("a line before the columns: no error")
	}
}

func TestExceptionsHaveALink(t *testing.T) {
	if len(exceptions) > maxExceptions {
		t.Errorf("%d exceptions, at most %d", len(exceptions), maxExceptions)
	}
	for spec, link := range exceptions {
		if !strings.HasPrefix(link, "https://github.com/kubernetes/") {
			t.Errorf("%s is excused by %q, want an upstream thread", spec, link)
		}
	}
}

const goOutput = `=== RUN   Suite
=== RUN   Suite/A
=== RUN   Suite/A/one_way
    helper.go:71: FAILED Command was [/agnhost connect --timeout=3s --protocol=tcp [2001:db8::1]:80]
=== RUN   Suite/A/other_way
        	Error:      	Condition never satisfied
    helper.go:71: FAILED Command was [/agnhost connect --timeout=3s --protocol=udp [2001:db8::1]:80]
=== NAME  Suite/A
    apply.go:154: Deleting
=== RUN   Suite/B
--- FAIL: Suite (15.00s)
    --- FAIL: Suite/A (12.00s)
        --- PASS: Suite/A/one_way (1.50s)
        --- FAIL: Suite/A/other_way (10.00s)
    --- SKIP: Suite/B (0.00s)
`

func TestParseGo(t *testing.T) {
	got, err := parseGo(strings.NewReader(goOutput))
	if err != nil {
		t.Fatal(err)
	}
	want := Results{
		{Spec: "A/one way", Passed: true, Seconds: 1.5},
		{Spec: "A/other way", Seconds: 10, Why: "Error:      	Condition never satisfied"},
		{Spec: "B", Skipped: "it says so itself"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	var b strings.Builder
	if err := got.Print(&b, "policyapi"); err != nil {
		t.Fatal(err)
	}
	if !strings.HasSuffix(b.String(), "\npolicyapi: 1 of 2 passed, 1 skipped\n") {
		t.Errorf("printed:\n%s", b.String())
	}
	if r, err := parseGo(strings.NewReader("nothing ran")); err == nil {
		t.Errorf("%v, no error", r)
	}
}
