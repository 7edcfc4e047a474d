package objects

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"hexapod.dev/api/v1alpha1"
)

// script answers requests one after the other, and remembers what was asked.
type script struct {
	t *testing.T

	mu      sync.Mutex
	answers []answer
	asked   []string
	spent   chan struct{} // closed when the last answer was given
}

// answer is what the server says to one request.
type answer struct {
	code   int    // 0: 200
	body   string // of a watch: lines
	cut    bool   // the connection breaks after the body
	header map[string]string
}

func (s *script) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	if len(s.answers) == 0 {
		s.mu.Unlock()
		<-r.Context().Done() // a watch that hears nothing
		return
	}
	a := s.answers[0]
	s.answers = s.answers[1:]
	q := r.URL.Query()
	q.Del("timeoutSeconds")
	q.Del("allowWatchBookmarks")
	q.Del("limit")
	s.asked = append(s.asked, r.Method+" "+q.Encode())
	last := len(s.answers) == 0
	s.mu.Unlock()
	for k, v := range a.header {
		w.Header().Set(k, v)
	}
	if a.code != 0 {
		w.WriteHeader(a.code)
	}
	fmt.Fprint(w, a.body)
	if last {
		close(s.spent)
	}
	if a.cut {
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	}
}

func serve(t *testing.T, answers ...answer) (Collection[v1alpha1.Host], *script) {
	t.Helper()
	s := &script{t: t, answers: answers, spent: make(chan struct{})}
	server := httptest.NewServer(s)
	t.Cleanup(func() { server.CloseClientConnections(); server.Close() })
	base, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	return In(&Client{http: server.Client(), watch: server.Client(), base: base}, Hosts()), s
}

func host(name string, version int) string {
	return fmt.Sprintf(`{"metadata":{"name":%q,"resourceVersion":"%d"},"spec":{}}`, name, version)
}

func hosts(version int, token string, items ...string) string {
	return fmt.Sprintf(`{"metadata":{"resourceVersion":"%d","continue":%q},"items":[%s]}`, version, token, strings.Join(items, ","))
}

func event(kind, object string) string {
	return fmt.Sprintf(`{"type":%q,"object":%s}`+"\n", kind, object)
}

const goneStatus = `{"kind":"Status","code":410,"reason":"Expired","message":"too old resource version"}`

// log is a sink that writes down what it is given.
type log struct {
	mu    sync.Mutex
	lines []string
}

func (l *log) Replace(x Listing[v1alpha1.Host]) {
	line := "all:"
	for _, o := range x.Objects {
		line += " " + o.ObjectName()
	}
	if x.Again {
		line += " (again)"
	}
	l.add(line)
}

func (l *log) Apply(c Change[v1alpha1.Host]) {
	if c.Gone {
		l.add("gone: " + c.Object.ObjectName())
		return
	}
	l.add("now: " + c.Object.ObjectName())
}

func (l *log) add(line string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, line)
}

// TestFollow: what a sink is told, and what the server is asked, whatever the server does.
func TestFollow(t *testing.T) {
	list := answer{body: hosts(10, "", host("a", 3), host("b", 4))}
	for name, c := range map[string]struct {
		answers     []answer
		told, asked []string
	}{
		"a list in pages is told as a whole": {
			[]answer{{body: hosts(10, "next", host("a", 3))}, {body: hosts(10, "", host("b", 4))}, {}},
			[]string{"all: a b"}, []string{"GET ", "GET continue=next", "GET resourceVersion=10&watch=true"},
		},
		"a list that is forgotten between pages begins anew": {
			[]answer{{body: hosts(10, "next", host("a", 3))}, {code: 410, body: goneStatus}, {body: hosts(12, "", host("c", 11))}, {}},
			[]string{"all: c"}, []string{"GET ", "GET continue=next", "GET ", "GET resourceVersion=12&watch=true"},
		},
		"half a list is no list": {
			[]answer{{body: hosts(10, "next", host("a", 3))}, {code: 500, body: `{"message":"no"}`}, list, {}},
			[]string{"all: a b"}, []string{"GET ", "GET continue=next", "GET ", "GET resourceVersion=10&watch=true"},
		},
		"pages of two versions are no list": {
			[]answer{{body: hosts(10, "next", host("a", 3))}, {body: hosts(11, "", host("b", 4))}, list, {}},
			[]string{"all: a b"}, []string{"GET ", "GET continue=next", "GET ", "GET resourceVersion=10&watch=true"},
		},
		"a list that is cut off is none": {
			[]answer{{body: `{"metadata":{"resourceVersion":"10"},"items":[` + host("a", 3)}, list, {}},
			[]string{"all: a b"}, []string{"GET ", "GET ", "GET resourceVersion=10&watch=true"},
		},
		"a watch is taken up where it ended": {
			[]answer{list, {body: event("ADDED", host("c", 11)) + event("DELETED", host("a", 12))}, {}},
			[]string{"all: a b", "now: c", "gone: a"}, []string{"GET ", "GET resourceVersion=10&watch=true", "GET resourceVersion=12&watch=true"},
		},
		"a bookmark moves the place": {
			[]answer{list, {body: event("BOOKMARK", `{"metadata":{"resourceVersion":"40"}}`)}, {}},
			[]string{"all: a b"}, []string{"GET ", "GET resourceVersion=10&watch=true", "GET resourceVersion=40&watch=true"},
		},
		"a watch that lost its place lists": {
			[]answer{list, {body: event("MODIFIED", host("b", 11)) + event("ERROR", goneStatus)}, {body: hosts(20, "", host("b", 11))}, {}},
			[]string{"all: a b", "now: b", "all: b (again)"}, []string{"GET ", "GET resourceVersion=10&watch=true", "GET ", "GET resourceVersion=20&watch=true"},
		},
		"a watch that is refused as too old lists": {
			[]answer{list, {code: 410, body: goneStatus}, {body: hosts(20, "")}, {}},
			[]string{"all: a b", "all: (again)"}, []string{"GET ", "GET resourceVersion=10&watch=true", "GET ", "GET resourceVersion=20&watch=true"},
		},
		"after a broken watch the server is asked where it is": {
			[]answer{list, {body: event("MODIFIED", host("b", 15)), cut: true}, {body: hosts(16, "")}, {}},
			[]string{"all: a b", "now: b"}, []string{"GET ", "GET resourceVersion=10&watch=true", "GET ", "GET resourceVersion=15&watch=true"},
		},
		"a store that was put back is listed": {
			[]answer{list, {body: event("MODIFIED", host("b", 15)), cut: true}, {body: hosts(9, "")}, {body: hosts(9, "", host("a", 3))}, {}},
			[]string{"all: a b", "now: b", "all: a (again)"},
			[]string{"GET ", "GET resourceVersion=10&watch=true", "GET ", "GET ", "GET resourceVersion=9&watch=true"},
		},
		"a store that was put back and is beyond the version by now is listed": {
			[]answer{list, {body: event("MODIFIED", host("b", 15)), cut: true}, {code: 502, body: "away"}, {body: hosts(30, "", host("a", 3))}, {}},
			[]string{"all: a b", "now: b", "all: a (again)"},
			[]string{"GET ", "GET resourceVersion=10&watch=true", "GET ", "GET ", "GET resourceVersion=30&watch=true"},
		},
		"an event that is not known breaks the watch": {
			[]answer{list, {body: event("SURPRISE", host("b", 15))}, {body: hosts(16, "")}, {}},
			[]string{"all: a b"}, []string{"GET ", "GET resourceVersion=10&watch=true", "GET ", "GET resourceVersion=10&watch=true"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			s, server := serve(t, c.answers...)
			ctx, stop := context.WithCancel(t.Context())
			var l log
			ended := make(chan error, 1)
			go func() { ended <- s.Follow(ctx, slog.New(slog.DiscardHandler), &l) }()
			<-server.spent
			stop()
			if err := <-ended; !errors.Is(err, context.Canceled) {
				t.Errorf("Follow: %v", err)
			}
			if diff := cmp.Diff(c.told, l.lines); diff != "" {
				t.Errorf("-want +told:\n%s", diff)
			}
			if diff := cmp.Diff(c.asked, server.asked); diff != "" {
				t.Errorf("-want +asked:\n%s", diff)
			}
		})
	}
}

func TestErrors(t *testing.T) {
	for body, c := range map[string]struct {
		code int
		want error
	}{
		`{"reason":"NotFound","message":"hosts \"a\" not found"}`:        {404, ErrNotFound},
		`{"reason":"AlreadyExists","message":"hosts \"a\" is there"}`:    {409, ErrExists},
		`{"reason":"Conflict","message":"the object was modified"}`:      {409, ErrConflict},
		`{"reason":"Invalid","message":"spec.prefix: no"}`:               {422, ErrRefused},
		`{"reason":"Forbidden","message":"not you"}`:                     {403, ErrDenied},
		"a proxy speaks to you in prose":                                 {401, ErrDenied},
		`{"reason":"Expired","message":"the continue token is too old"}`: {410, ErrGone},
	} {
		s, _ := serve(t, answer{code: c.code, body: body})
		_, err := s.Get(t.Context(), "a")
		all := []error{ErrNotFound, ErrExists, ErrConflict, ErrRefused, ErrDenied, ErrGone}
		i := slices.IndexFunc(all, func(e error) bool { return errors.Is(err, e) })
		if i < 0 || !errors.Is(err, c.want) || slices.ContainsFunc(all[i+1:], func(e error) bool { return errors.Is(err, e) }) {
			t.Errorf("%d %s: %v", c.code, body, err)
		}
	}
}

// TestPatience: what the server refused for want of room is asked again, for it was not begun.
func TestPatience(t *testing.T) {
	s, server := serve(t, answer{code: 429, body: `{"message":"busy"}`, header: map[string]string{"Retry-After": "1"}}, answer{body: host("a", 3)})
	h, err := s.Get(t.Context(), "a")
	if err != nil || h.ObjectName() != "a" || h.Kind != v1alpha1.KindHost || len(server.asked) != 2 {
		t.Errorf("%+v, %v, asked %q", h, err, server.asked)
	}
}

// FuzzEvent: whatever a line of a watch says, it is understood or refused.
func FuzzEvent(f *testing.F) {
	f.Add(event("ADDED", host("a", 1)))
	f.Add(event("ERROR", goneStatus))
	f.Add(event("BOOKMARK", `{"metadata":{"resourceVersion":"40"}}`))
	s := In(&Client{}, Hosts())
	f.Fuzz(func(t *testing.T, line string) {
		var e watchEvent
		if json.Unmarshal([]byte(line), &e) != nil {
			return
		}
		version, err := s.event(e, "7", func(c Change[v1alpha1.Host]) {
			if c.Object == nil || c.Object.Kind != v1alpha1.KindHost {
				t.Errorf("object %+v", c.Object)
			}
		})
		if err != nil && version != "7" {
			t.Errorf("version %q after %v", version, err)
		}
	})
}
