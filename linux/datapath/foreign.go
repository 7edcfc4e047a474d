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
// directly would not meet them. six are those that IPv6 meets, four those that IPv4 meets.
func (t *Table) ForeignRules(ctx context.Context) (six, four string, err error) {
	chains, err := nft.Forwarding(ctx, t.ns)
	if err != nil && !errors.Is(err, nft.ErrMissing) {
		return "", "", err
	}
	if six, err = t.foreign(chains, "ip6"); err == nil {
		four, err = t.foreign(chains, "ip")
	}
	return six, four, err
}

// foreign names those of one family, which nftables calls ip or ip6.
func (t *Table) foreign(chains []nft.Chain, family string) (string, error) {
	var names []string
	for _, c := range chains {
		if table := c.Family + " " + c.Table; table != guardTable && (c.Family == family || c.Family == "inet") && (c.Rules > 0 || c.Policy == "drop") {
			names = append(names, fmt.Sprintf("chain %s of table %s", c.Name, table))
		}
	}
	legacy, err := t.legacyTables(family)
	if err != nil {
		return "", err
	}
	if slices.Contains(legacy, "filter") {
		names = append(names, "table filter of "+family+"tables-legacy")
	}
	slices.Sort(names)
	return strings.Join(names, ", "), nil
}

// legacyTables are the tables of iptables or ip6tables that do not live in nftables.
func (t *Table) legacyTables(family string) (tables []string, err error) {
	err = t.inside(func() error {
		b, err := os.ReadFile("/proc/thread-self/net/" + family + "_tables_names")
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		tables = strings.Fields(string(b))
		return err
	})
	return tables, err
}
