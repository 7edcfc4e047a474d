package wire

import (
	"bytes"
	"encoding/json"
	"errors"
	"maps"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestRequestLine(t *testing.T) {
	r := Request{"ADD", "c", "/run/netns/x", "eth0", "A=\"b\"\n;C=\\", "/opt/cni/bin:/é", []byte("{\n  \"a\": \"x\\n\"\r\n}\n")}
	line := r.Append(nil)
	if bytes.IndexByte(line, '\n') != len(line)-1 {
		t.Errorf("not one line: %q", line)
	}
	var got struct {
		Command, ContainerID, NetNS, IfName, Args, Path string
		Config                                          map[string]string
	}
	if err := json.Unmarshal(line, &got); err != nil {
		t.Fatal(err)
	}
	if got.Command != r.Command || got.ContainerID != r.ContainerID || got.NetNS != r.NetNS || got.IfName != r.IfName ||
		got.Args != r.Args || got.Path != r.Path || got.Config["a"] != "x\n" {
		t.Errorf("read back: %+v", got)
	}
}

func TestAnswerLine(t *testing.T) {
	for _, want := range []Answer{{}, {0, []byte(`{"a":[1,2]}`)}, {1, []byte(`{"code":11}`)}} {
		got, err := ParseAnswer(want.Append(nil))
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("%v (-want +got):\n%s", err, diff)
		}
	}
}

func TestNames(t *testing.T) {
	for _, c := range []struct {
		check func(string) error
		name  string
		good  bool
	}{
		{CheckContainerID, "a", true}, {CheckContainerID, "0.A_-", true}, {CheckContainerID, strings.Repeat("a", MaxContainerID), true},
		{CheckContainerID, "", false}, {CheckContainerID, strings.Repeat("a", MaxContainerID+1), false}, {CheckContainerID, "-a", false},
		{CheckContainerID, "a/b", false}, {CheckContainerID, "a:b", false}, {CheckContainerID, "a\n", false}, {CheckContainerID, "é", false},
		{CheckNetwork, "net.1", true}, {CheckNetwork, "", false}, {CheckNetwork, ".", false},
		{CheckIfName, "eth0", true}, {CheckIfName, "fifteen-letters", true}, {CheckIfName, "é0", true},
		{CheckIfName, "", false}, {CheckIfName, "sixteen-letters-", false}, {CheckIfName, "..", false}, {CheckIfName, "a b", false},
		{CheckIfName, "a/b", false}, {CheckIfName, "a:b", false}, {CheckIfName, "a\x7f", false}, {CheckIfName, "a\xff", false},
		{CheckIfName, "eth%d", false}, {CheckIfName, "all", false}, {CheckIfName, "default", false},
	} {
		if err := c.check(c.name); (err == nil) != c.good {
			t.Errorf("%q: %v, want good %v", c.name, err, c.good)
		}
	}
}

func TestBeat(t *testing.T) {
	b := Beat{"0c5e", 1234}
	if got, ok := ParseBeat(b.Append(nil)); !ok || got != b {
		t.Errorf("read back %+v, %v, want %+v", got, ok, b)
	}
	for _, bad := range []string{"", "0c5e", "0c5e 12", "0c5e x\n", " 12\n", "0c5e -1\n", "0c5e 12\n\n"} {
		if got, ok := ParseBeat([]byte(bad)); ok {
			t.Errorf("%q became %+v", bad, got)
		}
	}
	if now := Now(); now.Millis <= 0 || now.Boot == "" {
		t.Errorf("now is %+v", now)
	}
}

func TestUnquote(t *testing.T) {
	for _, c := range []struct {
		value, want string
		ok          bool
	}{
		{`"a"`, "a", true}, {`"\"\\\/\b\f\n\r\t"`, "\"\\/\b\f\n\r\t", true}, {`"\u00e9\uD83D\uDE00"`, "é😀", true},
		{`"\ud83d"`, "\ufffd", true}, {`"\ud83dx"`, "\ufffdx", true}, {`7`, "", false}, {`null`, "", false}, {`"`, "", false},
	} {
		if got, ok := Unquote([]byte(c.value)); got != c.want || ok != c.ok {
			t.Errorf("%s: %q, %v, want %q, %v", c.value, got, ok, c.want, c.ok)
		}
	}
}

func TestDepth(t *testing.T) {
	nested := func(n int) []byte {
		return []byte(`{"a":` + strings.Repeat("[", n) + strings.Repeat("]", n) + `}`)
	}
	if err := Members(nested(maxDepth-1), func(_, _ []byte) {}); err != nil {
		t.Errorf("%d levels: %v", maxDepth, err)
	}
	if err := Members(nested(maxDepth+1), func(_, _ []byte) {}); !errors.Is(err, errDeep) {
		t.Errorf("%d levels: %v, want %v", maxDepth+2, err, errDeep)
	}
}

// FuzzMembers compares the scanner with encoding/json: the same texts are objects, with the same members.
func FuzzMembers(f *testing.F) {
	for _, seed := range []string{`{}`, `{"a":1,"b":[true,null,{"c":"\u00e9"}]}`, `{"a":-1.5e+7,"a":0}`, `{"a":01}`, `{"a"}`, `{`, `[]`, `{"\ud83d\ude00":"x"}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		got := map[string]string{}
		err := Members(text, func(key, value []byte) {
			if name, ok := Unquote([]byte(`"` + string(key) + `"`)); ok {
				got[name] = string(value)
			}
		})
		var raw map[string]json.RawMessage
		stdErr := json.Unmarshal(text, &raw)
		switch {
		case errors.Is(err, errUTF8) || errors.Is(err, errDeep) || stdErr == nil && raw == nil: // stricter here: not UTF-8, deep, null
		case (err == nil) != (stdErr == nil):
			t.Fatalf("%q: %v, encoding/json: %v", text, err, stdErr)
		case err == nil:
			want := map[string]string{}
			for k, v := range raw {
				want[k] = string(v)
			}
			if !maps.Equal(want, got) {
				t.Fatalf("%q: members %q, want %q", text, got, want)
			}
			for _, v := range raw {
				var text string
				if v[0] == '"' && json.Unmarshal(v, &text) == nil {
					if mine, ok := Unquote(v); !ok || mine != text {
						t.Fatalf("%s: %q, %v, want %q", v, mine, ok, text)
					}
				}
			}
		}
	})
}

// FuzzAnswer: whatever an agent sends, the plugin says an answer of its own or passes on one that a runtime can read.
func FuzzAnswer(f *testing.F) {
	f.Add([]byte(`{"exit":0,"stdout":null}` + "\n"))
	f.Add(Answer{1, []byte(`{"code":7}`)}.Append(nil))
	f.Fuzz(func(t *testing.T, line []byte) {
		answer, err := ParseAnswer(line)
		if err == nil && len(answer.Stdout) > 0 && !json.Valid(answer.Stdout) {
			t.Fatalf("%q became %q", line, answer.Stdout)
		}
	})
}
