package upstream

import (
	"encoding/json"
	"errors"
	"io/fs"
	"net/netip"
	"os"
	"time"

	"hexapod.dev/edge/file/whole"
	"hexapod.dev/model/upstream"
)

// keptFile is what an agent leaves to the next one, so that names go on to lead somewhere while it listens and asks. It lies in the run
// folder: what was true before the machine was started again counts for nothing.
type keptFile struct {
	Name   string         `json:"name"` // of the Translation
	Claims []keptClaim    `json:"claims"`
	Past   []netip.Prefix `json:"past"`
}

type keptClaim struct {
	Prefix netip.Prefix    `json:"prefix"`
	Source upstream.Source `json:"source"`
	From   string          `json:"from"`
	Until  time.Time       `json:"until"`
}

// save keeps what is used. The caller holds mu.
func (f *Finder) save() {
	if f.want == nil {
		if err := os.Remove(f.options.File); err != nil && !errors.Is(err, fs.ErrNotExist) {
			f.options.Log.Warn("what was found of the NAT64 outside is not forgotten", "error", err)
		}
		return
	}
	f.saved = time.Now()
	k := keptFile{Name: f.want.Name, Past: f.past}
	for _, v := range f.verdicts {
		if v.Used() {
			k.Claims = append(k.Claims, keptClaim{v.Prefix, v.Source, v.From, f.began.Add(time.Duration(v.Until-1) * time.Second).Round(0)})
		}
	}
	text, err := json.Marshal(k)
	if err == nil {
		err = whole.Write(f.options.File, text, 0o600)
	}
	if err != nil { // the next agent begins with nothing
		f.options.Log.Warn("what was found of the NAT64 outside is not kept for the next agent", "error", err)
	}
}

// load takes what the agent before left. What routers told counts for a moment, until they tell it again: it may have been renewed or
// withdrawn since it was written down. The caller holds mu.
func (f *Finder) load() {
	text, err := os.ReadFile(f.options.File)
	var k keptFile
	if err != nil || json.Unmarshal(text, &k) != nil || k.Name != f.want.Name {
		return
	}
	f.past = k.Past[max(0, len(k.Past)-maxPast):]
	for _, c := range k.Claims {
		left := int64(time.Until(c.Until) / time.Second)
		if c.Source == upstream.RA && left > -int64(look/time.Second) {
			left = keepDoubt
		}
		f.kept = append(f.kept, upstream.Claim{Prefix: c.Prefix, Source: c.Source, From: c.From, Until: f.now() + left})
	}
}
