package datapath

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	"hexapod.dev/linux/nft"
)

// ForeignRules names rules of others for packets that this host forwards; empty when there are none. Packets that are handed on
// directly would not meet them.
func (t *Table) ForeignRules(ctx context.Context) (string, error) {
	var names []string
	chains, err := nft.Forwarding(ctx, t.ns)
	if err != nil && !errors.Is(err, nft.ErrMissing) {
		return "", err
	}
	for _, c := range chains {
		if table := c.Family + " " + c.Table; table != guardTable && (c.Family == "ip6" || c.Family == "inet") && (c.Rules > 0 || c.Policy == "drop") {
			names = append(names, fmt.Sprintf("chain %s of table %s", c.Name, table))
		}
	}
	legacy, err := t.legacyTables()
	if err != nil {
		return "", err
	}
	if slices.Contains(legacy, "filter") {
		names = append(names, "table filter of ip6tables-legacy")
	}
	slices.Sort(names)
	return strings.Join(names, ", "), nil
}

// legacyTables are the tables of ip6tables that do not live in nftables.
func (t *Table) legacyTables() (tables []string, err error) {
	err = t.inside(func() error {
		b, err := os.ReadFile("/proc/thread-self/net/ip6_tables_names")
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		tables = strings.Fields(string(b))
		return err
	})
	return tables, err
}
