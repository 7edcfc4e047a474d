package translator

import (
	"errors"

	"hexapod.dev/agent/local"
	"hexapod.dev/linux/child"
	"hexapod.dev/linux/nat64"
	"hexapod.dev/model/desired"
)

// fastFlows is how many flows the fast path of NAT64 knows at a time; those beyond are translated all the same, by the translator. The
// memory is 12 MiB.
const fastFlows = 32_768

// fastRooms is how many endpoints can begin flows there, in 5 MiB; flows of others begin in the translator.
const fastRooms = 256

func (t *Translator) fastOptions() nat64.FastOptions {
	return nat64.FastOptions{NS: t.options.NS, Root: t.options.BPF, Run: t.options.RunDir, Flows: fastFlows, Rooms: fastRooms}
}

// fastPath opens the fast path, once; nil: this host has none, and every packet goes to the translator.
func (t *Translator) fastPath() *nat64.Fast {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.fast != nil || t.slow != "" {
		return t.fast
	}
	if none := t.options.Programs().None; none != "" {
		t.slow = "no eBPF programs: " + none
		return nil
	}
	f, err := nat64.OpenFast(t.fastOptions())
	if err != nil {
		t.slow = local.OneLine(err)
		t.options.Log.Warn("every packet to IPv4 goes through the translator's process", "error", err)
		return nil
	}
	t.fast = f
	return f
}

// closeFastPath closes what this process has open of it; the program goes on.
func (t *Translator) closeFastPath() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.fast != nil {
		_ = t.fast.Close() // maps and program stay with the device
	}
	t.fast, t.slow = nil, ""
	t.closeHost()
}

// hangFastPath hangs the program on the device and returns the memory that it shares with a translator; none: there is no fast path.
func (t *Translator) hangFastPath() []child.Named {
	f := t.fastPath()
	if f == nil {
		return nil
	}
	flows, rooms, err := f.Memory()
	hung := f.Hang(desired.TranslationLink)
	if err := errors.Join(err, hung); err != nil {
		t.options.Log.Warn("every packet to IPv4 goes through the translator's process", "error", err)
	}
	if err != nil {
		return nil
	}
	return []child.Named{{Name: nat64.FileFast, File: flows}, {Name: nat64.FileRooms, File: rooms}}
}

// tellFastPath tells the program what the translator is told, and hangs it on the device if that is there: it may be another release's.
func (t *Translator) tellFastPath(want *nat64.Config) error {
	f := t.fastPath()
	if f == nil {
		return nil
	}
	may := t.options.Programs()
	err := f.Set(*want, may.Direct, may.Direct4)
	if t.Find() {
		err = errors.Join(err, f.Hang(desired.TranslationLink))
	}
	return err
}

// fastDetail is what the status says of the fast path.
func (t *Translator) fastDetail() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.fast == nil {
		return "no fast path: " + t.slow
	}
	return "fast path"
}

// fastCounts returns what the fast path did; false: there is none.
func (t *Translator) fastCounts() (c nat64.FastCounts, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.fast == nil {
		return c, false
	}
	c, err := t.fast.Counts()
	return c, err == nil
}
