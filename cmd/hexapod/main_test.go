package main

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// hexapod runs one call and returns what a person sees.
func hexapod(t *testing.T, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	var out, errs bytes.Buffer
	code = run(t.Context(), environment{stdout: &out, stderr: &errs}, args)
	return out.String(), errs.String(), code
}

// call is hexapod for a call whose exit code is known.
func call(t *testing.T, want int, words ...string) (stdout, stderr string) {
	t.Helper()
	out, errs, got := hexapod(t, words...)
	if got != want {
		t.Errorf("hexapod %s: exit %d, want %d\n%s%s", strings.Join(words, " "), got, want, out, errs)
	}
	return out, errs
}

// leaves are all verbs that people may call, by the words that lead to them.
func leaves(c command, path ...string) map[string]command {
	found := map[string]command{}
	if c.run != nil {
		found[strings.Join(path, " ")] = c
	}
	for _, v := range c.verbs {
		if v.summary == "" {
			continue
		}
		for name, leaf := range leaves(v, append(path[:len(path):len(path)], v.name)...) {
			found[name] = leaf
		}
	}
	return found
}

var helpFlag = regexp.MustCompile(`(?m)^  (--?[a-z0-9-]+)`)

// TestEveryVerb holds all verbs to the same manners.
func TestEveryVerb(t *testing.T) {
	all := leaves(command{verbs: commands()})
	if len(all) < 25 {
		t.Fatalf("only %d verbs found", len(all))
	}
	for path, c := range all {
		words := strings.Fields(path)
		help, errs := call(t, exitOK, append(words, "--help")...)
		if want := "\nUsage: hexapod " + path + " " + c.usage + "\n"; !strings.Contains(help, want) || errs != "" {
			t.Errorf("%s --help: no %q, or errors: %s\n%s", path, want, errs, help)
		}
		if again, _ := call(t, exitOK, append([]string{"help"}, words...)...); again != help {
			t.Errorf("help %s is not %[1]s --help:\n%s", path, again)
		}
		for _, m := range helpFlag.FindAllStringSubmatch(help, -1) {
			if !strings.Contains(c.usage+"]", m[1]+" ") && !strings.Contains(c.usage, m[1]+"]") && !strings.HasSuffix(c.usage, "[more flags]") {
				t.Errorf("%s: its synopsis does not show %s: %s", path, m[1], c.usage)
			}
		}
		out, errs := call(t, exitUsage, append(words, "--no-such-flag")...)
		if out != "" || !strings.HasPrefix(errs, "hexapod "+path+": no flag --no-such-flag\n") || !strings.HasSuffix(errs, "\nSee: hexapod "+path+" --help\n") {
			t.Errorf("%s --no-such-flag: on standard output %q, on standard error %q", path, out, errs)
		}
		if strings.Contains(c.usage, "-o table|json") {
			if _, errs := call(t, exitUsage, append(words, "-o", "yaml")...); !strings.Contains(errs, "want table or json") {
				t.Errorf("%s -o yaml: %s", path, errs)
			}
		}
	}
}

// TestSynopsesOfTheDocuments: each verb stands in the documents as its help shows it.
func TestSynopsesOfTheDocuments(t *testing.T) {
	pages, err := filepath.Glob("../../docs/*.md")
	if err != nil || len(pages) < 5 {
		t.Fatalf("pages found: %v, %v", pages, err)
	}
	var all strings.Builder
	for _, page := range pages {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		all.WriteString(strings.Join(strings.Fields(string(text)), " ") + " ")
	}
	for path, c := range leaves(command{verbs: commands()}) {
		if want := "hexapod " + path + " " + c.usage + " "; !strings.Contains(all.String(), want) {
			t.Errorf("no page of docs/ has the synopsis\n%s", want)
		}
	}
}

func TestHelp(t *testing.T) {
	for _, group := range [][]string{{}, {"plan"}, {"plan", "host"}, {"lab"}, {"lab", "probe"}, {"identity"}, {"ipam"}} {
		bare, _ := call(t, exitOK, group...)
		asked, _ := call(t, exitOK, append(group, "--help")...)
		helped, _ := call(t, exitOK, append([]string{"help"}, group...)...)
		if bare != asked || bare != helped || !strings.Contains(bare, "Usage: "+strings.Join(append([]string{"hexapod"}, group...), " ")+" COMMAND") {
			t.Errorf("%q: %s\n%s\n%s", group, bare, asked, helped)
		}
		if out, errs := call(t, exitUsage, append(group, "sideways")...); out != "" || !strings.Contains(errs, `no command "sideways"`) {
			t.Errorf("%q sideways: %q %q", group, out, errs)
		}
	}
	short, _ := call(t, exitOK, "version")
	if long, _ := call(t, exitOK, "--version"); long != short {
		t.Errorf("--version says %q, version %q", long, short)
	}
}

// TestNotRoot: whoever may not do something is told who may, and root is told nothing that does not help.
func TestNotRoot(t *testing.T) {
	const hint = "You are not root: try sudo hexapod plan new"
	closed := t.TempDir() + "/file"
	for _, c := range []struct {
		uid  int
		err  error
		want bool
	}{{1000, os.ErrPermission, true}, {0, os.ErrPermission, false}, {1000, os.ErrNotExist, false}} {
		var out, errs bytes.Buffer
		env := environment{stdout: &out, stderr: &errs, uid: c.uid, path: "plan new"}
		if code := env.ended(&os.PathError{Op: "open", Path: closed, Err: c.err}); code != exitFailed || strings.Contains(errs.String(), hint) != c.want {
			t.Errorf("uid %d, %v: exit %d, %s", c.uid, c.err, code, &errs)
		}
	}
}

func TestWordsAndFlags(t *testing.T) {
	for _, c := range []struct {
		args, want string // what a call may look like; the words it accepts
		words      string // which it then has; with the error if it is refused
		run        string // the value of --run
	}{
		{"a --run x b", "A B", "a b", "x"},
		{"--run x a b", "A B", "a b", "x"},
		{"a -- --run b", "A [B ...]", "a --run b", "/run/hexapod"},
		{"--run=x -- a", "A", "a", "x"},
		{"", "[A]", "", "/run/hexapod"},
		{"", "A", "want A", "/run/hexapod"},
		{"a b", "A", `want A alone, got "a b"`, "/run/hexapod"},
		{"a", "", `takes no words, got "a"`, "/run/hexapod"},
	} {
		f := newFlags(environment{}, "")
		dir := f.runDir()
		var want []string
		if c.want == "A [B ...]" {
			want = []string{"A", "[B ...]"}
		} else {
			want = strings.Fields(c.want)
		}
		_, err := f.parse(strings.Fields(c.args), want...)
		got := strings.Join(f.words, " ")
		if err != nil {
			got = err.Error()
		}
		if got != c.words || *dir != c.run {
			t.Errorf("%q for %q: %q and --run %s, want %q and %s", c.args, c.want, got, *dir, c.words, c.run)
		}
	}
}
