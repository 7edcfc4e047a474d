// Package nft keeps tables of nftables that belong to Hexapod alone, as text piped to nft(8).
package nft

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"strings"

	"hexapod.dev/linux/netns"
)

// ErrMissing says that the host has no nft(8).
var ErrMissing = errors.New("program nft is missing: install nftables")

// Replace makes a table ("inet hexapod") hold body and nothing else, in one transaction: at no moment it holds less.
func Replace(ctx context.Context, ns *netns.NS, table, body string) error {
	script := fmt.Sprintf("table %[1]s {\n}\ndelete table %[1]s\ntable %[1]s {\n%[2]s}\n", table, body)
	if _, err := run(ctx, ns, script, "-f", "-"); err != nil {
		return fmt.Errorf("write table %s: %w", table, err)
	}
	return nil
}

// Delete removes a table. A missing one is no error.
func Delete(ctx context.Context, ns *netns.NS, table string) error {
	script := fmt.Sprintf("table %[1]s {\n}\ndelete table %[1]s\n", table)
	if _, err := run(ctx, ns, script, "-f", "-"); err != nil {
		return fmt.Errorf("delete table %s: %w", table, err)
	}
	return nil
}

// List returns a table as nft writes it, without counters.
func List(ctx context.Context, ns *netns.NS, table string) (string, error) {
	out, err := run(ctx, ns, "", append([]string{"-s", "list", "table"}, strings.Fields(table)...)...)
	if err != nil {
		return "", fmt.Errorf("list table %s: %w", table, err)
	}
	return out, nil
}

// Chain is a base chain of the host, whoever made it.
type Chain struct {
	Family, Table, Name string
	Policy              string // "accept" or "drop"
	Rules               int
}

// Forwarding lists the chains that look at packets the host forwards.
func Forwarding(ctx context.Context, ns *netns.NS) ([]Chain, error) {
	out, err := run(ctx, ns, "", "-j", "-s", "list", "ruleset")
	if err != nil {
		return nil, fmt.Errorf("list the rules of this host: %w", err)
	}
	var ruleset struct {
		NFTables []struct {
			Chain *struct{ Family, Table, Name, Hook, Policy string }
			Rule  *struct{ Family, Table, Chain string }
		}
	}
	if err := json.Unmarshal([]byte(out), &ruleset); err != nil {
		return nil, fmt.Errorf("read the rules of this host: %w", err)
	}
	var list []Chain
	for _, o := range ruleset.NFTables {
		if c := o.Chain; c != nil && c.Hook == "forward" {
			list = append(list, Chain{Family: c.Family, Table: c.Table, Name: c.Name, Policy: c.Policy})
		}
	}
	for _, o := range ruleset.NFTables {
		for i := range list {
			if r, c := o.Rule, &list[i]; r != nil && r.Family == c.Family && r.Table == c.Table && r.Chain == c.Name {
				c.Rules++
			}
		}
	}
	return list, nil
}

func run(ctx context.Context, ns *netns.NS, input string, args ...string) (string, error) {
	path, err := exec.LookPath("nft")
	if err != nil {
		return "", ErrMissing
	}
	var out, told bytes.Buffer
	c := exec.CommandContext(ctx, path, args...)
	c.Stdin, c.Stdout, c.Stderr = strings.NewReader(input), &out, &told
	start := c.Run
	if ns != nil {
		err = ns.Do(start)
	} else {
		err = start()
	}
	if err != nil {
		return "", fmt.Errorf("%w: %s", err, strings.TrimSpace(told.String()))
	}
	return out.String(), nil
}
