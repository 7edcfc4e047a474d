package render

import (
	"encoding/xml"
	"fmt"
	"strings"

	"hexapod.dev/model/addressplan"
)

// Sizes of the map, in pixels.
const (
	svgWidth  = 960
	svgMargin = 24
	svgNames  = 230 // from the margin to the bars: name and prefix
	svgBar    = 480 // of a rack that is all used
	svgRow    = 40
	svgHeight = 20 // of a bar
)

// Colours of the map: readable on white, different in brightness as well as in hue.
const (
	svgLiving  = "#1f6f54"
	svgResting = "#e0a030"
	svgRested  = "#9cc7e8"
	svgFree    = "#eef1f4"
	svgRole    = "#6b5b95"
	svgSpare   = "#d9d3e6"
	svgInk     = "#1f2933"
	svgFaint   = "#52606d"
	svgPaper   = "#ffffff"
)

// drawing is a map that grows downwards.
type drawing struct {
	text
	y int // of the line that was written last
}

// SVG draws the plan as a picture: one row per rack, with what is living, resting, rested and never used, at second now.
func SVG(p addressplan.Plan, now addressplan.Seconds) (string, error) {
	d := &drawing{y: svgMargin + 16}
	d.label(svgMargin, 20, svgInk, "bold", "Address plan "+p.Name)
	d.prefix(svgWidth-svgMargin, 15, svgInk, "end", p.Prefix.String())
	d.legend()
	for _, c := range p.Clusters {
		if err := d.cluster(p, c, now); err != nil {
			return "", err
		}
	}
	height := d.y + svgMargin + 15
	out := &drawing{}
	out.line(`<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d" font-family="Helvetica, Arial, sans-serif">`, svgWidth, height, svgWidth, height)
	out.line(`<title>Address plan %s</title>`, escaped(p.Name))
	out.line(`<rect width="%d" height="%d" rx="10" fill="%s"/>`, svgWidth, height, svgPaper)
	out.WriteString(d.String())
	out.line("</svg>")
	return out.String(), nil
}

// part is a piece of a bar, or of the legend.
type part struct {
	n            uint64
	colour, name string
}

// parts are the states of the hosts of a rack.
func parts(u addressplan.Usage) []part {
	return []part{{u.Living, svgLiving, "living"}, {u.Resting, svgResting, "resting"}, {u.Rested, svgRested, "rested"}, {u.Unused, svgFree, "never used"}}
}

func (d *drawing) legend() {
	d.y += 32
	x := svgMargin
	for _, k := range append(parts(addressplan.Usage{}), part{colour: svgRole, name: "kept for roles"}) {
		d.box(x, 14, 14, k.colour, "")
		d.label(x+20, 13, svgFaint, "normal", k.name)
		x += 34 + 8*len(k.name)
	}
}

func (d *drawing) cluster(p addressplan.Plan, c addressplan.Cluster, now addressplan.Seconds) error {
	q, err := p.ClusterPrefix(c)
	if err != nil {
		return err
	}
	d.y += 44
	d.line(`<line x1="%d" y1="%d" x2="%d" y2="%d" stroke="%s"/>`, svgMargin, d.y-16, svgWidth-svgMargin, d.y-16, svgFree)
	d.y += 14
	name := "Cluster " + c.Name
	if c.Edge {
		name = "Edge cluster " + c.Name
	}
	d.label(svgMargin, 16, svgInk, "bold", name)
	d.prefix(svgWidth-svgMargin, 13, svgInk, "end", q.String())
	if err := d.roles(p, c); err != nil {
		return err
	}
	for _, r := range c.Racks {
		if err := d.rack(p, c, r, now); err != nil {
			return err
		}
	}
	return nil
}

// row begins a row with its name, and its prefix below.
func (d *drawing) row(name, prefix string) {
	d.y += svgRow
	d.label(svgMargin, 14, svgInk, "bold", name)
	d.y += 15
	d.prefix(svgMargin, 11, svgFaint, "start", prefix)
	d.y -= 15
}

// roles draws rack 0. Its roles have one prefix each of very many, so they are not drawn to scale.
func (d *drawing) roles(p addressplan.Plan, c addressplan.Cluster) error {
	q, err := p.RackPrefix(c, 0)
	if err != nil {
		return err
	}
	d.row("rack 0", q.String())
	all := addressplan.RackRoles()
	w := svgBar / len(all)
	for i, role := range all {
		x := svgMargin + svgNames + i*w
		colour, title := svgSpare, string(role)+": no room"
		if q, err := p.RolePrefix(c, role); err == nil {
			colour, title = svgRole, fmt.Sprintf("%s: %s", role, q)
		}
		d.box(x, w-2, svgHeight, colour, title)
		d.line(`<text x="%d" y="%d" font-size="11" text-anchor="middle" fill="%s">%s</text>`, x+(w-2)/2, d.y+1, svgPaper, escaped(string(role)))
	}
	d.label(svgMargin+svgNames+svgBar+16, 13, svgFaint, "normal", "kept for roles")
	return nil
}

func (d *drawing) rack(p addressplan.Plan, c addressplan.Cluster, r addressplan.Rack, now addressplan.Seconds) error {
	q, err := p.RackPrefix(c, r.Number)
	if err != nil {
		return err
	}
	u, err := p.Usage(c, r, now)
	if err != nil {
		return err
	}
	d.row("rack "+r.Name, q.String())
	x, end := svgMargin+svgNames, svgMargin+svgNames+svgBar-2
	for _, part := range parts(u) {
		if part.n == 0 || u.Total == 0 {
			continue
		}
		w := max(3, int(float64(part.n)/float64(u.Total)*svgBar)) // what exists is seen
		if part.name == "never used" {
			w = end - x
		}
		w = max(0, min(w, end-x))
		d.box(x, w, svgHeight, part.colour, fmt.Sprintf("%s: %d %s of %d", q, part.n, part.name, u.Total))
		x += w
	}
	d.label(svgMargin+svgNames+svgBar+16, 13, svgInk, "normal", fmt.Sprintf("%d of %d living", u.Living, u.Total))
	d.y += 15
	d.label(svgMargin+svgNames+svgBar+16, 11, svgFaint, "normal", fmt.Sprintf("%d resting, %d free", u.Resting, u.Free()))
	d.y -= 15
	return nil
}

// box draws a rectangle whose foot is a little below the line; title shows when a mouse rests on it.
func (d *drawing) box(x, w, h int, colour, title string) {
	shape := fmt.Sprintf(`<rect x="%d" y="%d" width="%d" height="%d" rx="2" fill="%s"`, x, d.y-h/2-3, w, h, colour)
	if title == "" {
		d.line("%s/>", shape)
		return
	}
	d.line("%s><title>%s</title></rect>", shape, escaped(title))
}

func (d *drawing) label(x, size int, colour, weight, s string) {
	d.line(`<text x="%d" y="%d" font-size="%d" font-weight="%s" fill="%s">%s</text>`, x, d.y, size, weight, colour, escaped(s))
}

// prefix writes an address range: all figures are equally wide, so that rows can be compared.
func (d *drawing) prefix(x, size int, colour, anchor, s string) {
	d.line(`<text x="%d" y="%d" font-size="%d" text-anchor="%s" fill="%s" font-family="DejaVu Sans Mono, Menlo, Consolas, monospace">%s</text>`, x, d.y, size, anchor, colour, escaped(s))
}

func escaped(s string) string {
	var b strings.Builder
	if err := xml.EscapeText(&b, []byte(s)); err != nil {
		return ""
	}
	return b.String()
}
