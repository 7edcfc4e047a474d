package datapath

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"hexapod.dev/linux/netns"
	"hexapod.dev/linux/nft"
	"hexapod.dev/model/datapath"
	"hexapod.dev/model/desired"
	"hexapod.dev/model/diff"
)

// guardTable is the table of the guard in nftables.
const guardTable = "inet hexapod"

// guard is the static rules that hold when a program is missing: nothing of an endpoint that no program has marked goes on, and
// nothing that claims to come from inside reaches an endpoint without the mark.
type guard struct {
	ns     *netns.NS
	wanted string // what was applied last
	listed string // how the kernel showed it then
}

// ensure puts the rules there unless they are.
func (g *guard) ensure(ctx context.Context, inside []netip.Prefix, done *diff.Delta[string]) error {
	text := guardRules(inside)
	if text == g.wanted {
		if have, err := nft.List(ctx, g.ns, guardTable); err == nil && have == g.listed {
			return nil
		}
	}
	if err := nft.Replace(ctx, g.ns, guardTable, text); err != nil {
		return fmt.Errorf("guard: %w", err)
	}
	listed, err := nft.List(ctx, g.ns, guardTable)
	if err != nil {
		return fmt.Errorf("guard: %w", err)
	}
	g.wanted, g.listed = text, listed
	done.Change = append(done.Change, "guard")
	return nil
}

// Guards reports whether the rules of the guard are those of want as they were applied: a prefix within another changes none.
func (t *Table) Guards(want datapath.Want) bool {
	return t.guard.wanted == guardRules(slices.Collect(maps.Keys(want.Inside)))
}

// guardRules writes the body of the table. Prefixes that others contain are left out: a set takes no overlaps.
func guardRules(inside []netip.Prefix) string {
	slices.SortFunc(inside, func(a, b netip.Prefix) int { return a.Bits() - b.Bits() })
	var roots []netip.Prefix
	for _, p := range inside {
		if !slices.ContainsFunc(roots, p.Overlaps) {
			roots = append(roots, p)
		}
	}
	slices.SortFunc(roots, netip.Prefix.Compare)
	var elements []string
	for _, p := range roots {
		elements = append(elements, p.String())
	}
	var b strings.Builder
	b.WriteString("\tset inside {\n\t\ttype ipv6_addr\n\t\tflags interval\n")
	if len(elements) > 0 {
		fmt.Fprintf(&b, "\t\telements = { %s }\n", strings.Join(elements, ", "))
	}
	unmarked := fmt.Sprintf("meta mark & %#08x != { %#08x, %#08x }", datapath.MarkMask, datapath.MarkSet, datapath.MarkService)
	fmt.Fprintf(&b, "\t}\n\tchain input {\n\t\ttype filter hook input priority -300\n\t\tiifname \"%s*\" %s counter drop\n\t}\n", desired.LinkPrefix, unmarked)
	fmt.Fprintf(&b, "\tchain forward {\n\t\ttype filter hook forward priority -300\n\t\tiifname \"%s*\" %s counter drop\n", desired.LinkPrefix, unmarked)
	fmt.Fprintf(&b, "\t\toifname \"%s*\" meta mark & %#08x != { %#08x, %#08x, %#08x } ip6 saddr @inside counter drop\n\t}\n", desired.LinkPrefix,
		datapath.MarkMask, datapath.MarkBelieved, datapath.MarkSet, datapath.MarkService)
	return b.String()
}
