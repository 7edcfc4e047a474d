package render

import (
	"encoding/xml"
	"fmt"
	"strings"

	"hexapod.dev/model/addressplan"
)

// Sizes of the map, in pixels.
const (
	svgWidth  = 900
	svgBar    = 560 // of a rack that is all used
	svgRow    = 26
	svgMargin = 20
)

// Colours of the map: readable on white, different in brightness as well as in hue.
const (
	svgLiving  = "#1f6f54"
	svgResting = "#e0a030"
	svgRested  = "#9cc7e8"
	svgFree    = "#eef1f4"
	svgRole    = "#6b5b95"
)

// SVG draws the plan as a picture: one row per rack, with what is living, resting, rested and never used, at second now.
func SVG(p addressplan.Plan, now addressplan.Seconds) (string, error) {
	body := &text{}
	y := svgMargin + 24
	label(body, svgMargin, y, 20, "bold", fmt.Sprintf("%s  %s", p.Name, p.Prefix))
	y += svgRow
	x := svgMargin
	for _, k := range []struct{ colour, name string }{{svgLiving, "living"}, {svgResting, "resting"}, {svgRested, "rested"}, {svgFree, "never used"}, {svgRole, "kept for roles"}} {
		box(body, x, y-12, 14, 14, k.colour, "")
		label(body, x+20, y, 13, "normal", k.name)
		x += 130
	}
	for _, c := range p.Clusters {
		q, err := p.ClusterPrefix(c)
		if err != nil {
			return "", err
		}
		y += svgRow + 10
		label(body, svgMargin, y, 16, "bold", fmt.Sprintf("cluster %s  %s", c.Name, q))
		y += svgRow
		var roles []string
		for _, role := range addressplan.RackRoles() {
			if q, err := p.RolePrefix(c, role); err == nil {
				roles = append(roles, fmt.Sprintf("%s %s", role, q))
			}
		}
		label(body, svgMargin, y, 13, "normal", "rack 0")
		box(body, svgMargin+160, y-13, svgBar, 16, svgRole, strings.Join(roles, ", "))
		for _, r := range c.Racks {
			y += svgRow
			if err := svgRack(body, p, c, r, y, now); err != nil {
				return "", err
			}
		}
	}
	height := y + svgMargin
	out := &text{}
	out.line(`<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d" font-family="sans-serif">`, svgWidth, height, svgWidth, height)
	out.line(`<title>Address plan %s</title>`, escaped(p.Name))
	box(out, 0, 0, svgWidth, height, "#ffffff", "")
	out.WriteString(body.String())
	out.line("</svg>")
	return out.String(), nil
}

func svgRack(t *text, p addressplan.Plan, c addressplan.Cluster, r addressplan.Rack, y int, now addressplan.Seconds) error {
	q, err := p.RackPrefix(c, r.Number)
	if err != nil {
		return err
	}
	u, err := p.Usage(c, r, now)
	if err != nil {
		return err
	}
	label(t, svgMargin, y, 13, "normal", "rack "+r.Name)
	x := svgMargin + 160
	for _, part := range []struct {
		n            uint64
		colour, name string
	}{{u.Living, svgLiving, "living"}, {u.Resting, svgResting, "resting"}, {u.Rested, svgRested, "rested"}, {u.Unused, svgFree, "never used"}} {
		if part.n == 0 || u.Total == 0 {
			continue
		}
		w := max(2, int(float64(part.n)/float64(u.Total)*svgBar)) // what exists is seen
		w = min(w, svgMargin+160+svgBar-x)
		box(t, x, y-13, w, 16, part.colour, fmt.Sprintf("%s: %d %s of %d", q, part.n, part.name, u.Total))
		x += w
	}
	label(t, svgMargin+170+svgBar, y, 13, "normal", fmt.Sprintf("%d free of %d", u.Free(), u.Total))
	return nil
}

func box(t *text, x, y, w, h int, colour, title string) {
	if title == "" {
		t.line(`<rect x="%d" y="%d" width="%d" height="%d" fill="%s"/>`, x, y, w, h, colour)
		return
	}
	t.line(`<rect x="%d" y="%d" width="%d" height="%d" fill="%s"><title>%s</title></rect>`, x, y, w, h, colour, escaped(title))
}

func label(t *text, x, y, size int, weight, s string) {
	t.line(`<text x="%d" y="%d" font-size="%d" font-weight="%s">%s</text>`, x, y, size, weight, escaped(s))
}

func escaped(s string) string {
	var b strings.Builder
	if err := xml.EscapeText(&b, []byte(s)); err != nil {
		return ""
	}
	return b.String()
}
