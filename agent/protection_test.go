package agent_test

import (
	"strings"
	"testing"
)

// TestStatusSaysWhereInsideSourcesAreNotProved: where the host cannot know who sends, it says so.
func TestStatusSaysWhereInsideSourcesAreNotProved(t *testing.T) {
	t.Parallel()
	withMAC := strings.Replace(plan, "rack: r1, number: 2,", `rack: r1, number: 2, mac: "02:00:00:00:00:02",`, 1)
	for _, tc := range []struct{ name, conf, says string }{
		{"segment, a host without MAC", plan, "not protected: a host of its segment has no mac"},
		{"segment, MACs of all hosts", withMAC, ""},
		{"behind a ToR", strings.Replace(plan, `address: "fd7c:a1b2:c3d4::1", segment: s1`, `gateway: "fe80::1"`, 1),
			"not protected: a router brings what comes from inside: it must drop inside sources"},
		{"outside", strings.Replace(plan, `address: "fd7c:a1b2:c3d4::1", segment: s1`, `gateway: "fe80::1", external: true`, 1), ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			h := newHost(t)
			h.configure(tc.conf)
			h.start()
			s, err := h.client().Status(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			var said []string
			for _, o := range s.Objects {
				if o.Kind == "protection" {
					said = append(said, o.Name+" "+o.Detail)
				}
			}
			if have := strings.Join(said, "; "); tc.says == "" && have != "" || !strings.Contains(have, tc.says) || tc.says != "" && !strings.HasPrefix(have, "up0 ") {
				t.Errorf("the status says %q, want %q", have, tc.says)
			}
		})
	}
}
