package translator

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"hexapod.dev/linux/nat64"
	"hexapod.dev/model/desired"
	xnat64 "hexapod.dev/model/xlat/nat64"
)

// table is the table of nftables that keeps packets of the translator out of connection tracking.
const table = "inet hexapod-nat64"

// untracked keeps translated packets out of connection tracking, on both sides: the translator has a table of its own, and a second one
// could only be full before it. What arrives for endpoints at the host's own address never comes where it could be tracked.
func untracked(o *desired.Translation) string {
	words := func(list []string) string { return "{ " + strings.Join(list, ", ") + " }" }
	var prefixes, pool []string
	for _, p := range o.Prefixes {
		prefixes = append(prefixes, p.String())
	}
	if o.Group != nil { // what other gateways hand over
		prefixes = append(prefixes, o.Group.Self.String())
	}
	for _, a := range o.Pool {
		pool = append(pool, a.String())
	}
	answers := ""
	if len(pool) > 0 {
		answers = "\n\t\tip daddr " + words(pool) + " notrack"
	}
	return fmt.Sprintf(`	chain prerouting {
		type filter hook prerouting priority raw; policy accept;
		iifname %[1]q notrack
		ip6 daddr %[2]s notrack%[3]s
	}
	chain output {
		type filter hook output priority raw; policy accept;
		ip6 daddr %[2]s notrack
	}
`, desired.TranslationLink, words(prefixes), answers)
}

// config is what the translator is told.
func (t *Translator) config(s desired.Snapshot, o *desired.Translation, own ownAddress) (*nat64.Config, error) {
	secret, err := t.secret()
	if err != nil {
		return nil, err
	}
	pool := o.Pool
	if own.addr.IsValid() {
		pool = []netip.Addr{own.addr}
	}
	c := &nat64.Config{Prefixes: o.Prefixes, Pool: pool, Ports: nat64.Ports(o.Ports), Held: own.held, Gateway: t.options.Host,
		Private: o.Private, Clients: slices.Clone(o.Clients), Blocks: o.Blocks, Bindings: o.Bindings, Self4: speaksFrom(o, pool), MTU6: s.Sizes().MTU, Secret: secret}
	if o.Group != nil {
		c.Members, c.Keys, c.Leaving = o.Group.Members, o.Group.Keys, t.options.Leaving()
	}
	if f := t.fastPath(); f != nil {
		c.Fast, c.Rooms = f.Buckets(), f.Rooms()
	}
	for _, own := range s.Own() {
		if r := desired.RouterAddr(own); r.IsValid() {
			c.Self6 = r
			c.Clients = append(c.Clients, netip.PrefixFrom(r, r.BitLen()))
		}
	}
	for _, self := range s.Config.Self.Addrs { // the host is a client too
		if self.Is6() {
			c.Clients = append(c.Clients, netip.PrefixFrom(self, self.BitLen()))
		}
	}
	return c, nil
}

// speaksFrom is the address of the pool by which the translator speaks for itself: of a group one that belongs to it while all live.
func speaksFrom(o *desired.Translation, pool []netip.Addr) netip.Addr {
	if o.Group != nil {
		if i := slices.Index(o.Group.Ranks, 0); i >= 0 {
			return o.Pool[i]
		}
	}
	return pool[0]
}

// secret keys the choice of ports. It stays the same, so that ports are chosen alike after a restart.
func (t *Translator) secret() (secret xnat64.Secret, err error) {
	path := filepath.Join(t.folder(), "secret")
	b, err := os.ReadFile(path)
	switch {
	case err == nil && len(b) == len(secret):
		return xnat64.Secret(b), nil
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return secret, fmt.Errorf("secret of the translator: %w", err)
	}
	_, _ = rand.Read(secret[:]) // it never fails (crypto/rand)
	if err := os.MkdirAll(t.folder(), 0o755); err != nil {
		return secret, err
	}
	return secret, os.WriteFile(path, secret[:], 0o600)
}
