package wire

import "strconv"

// Tombstone is a delete that came while no agent ran. The agent carries it out when it is back.
type Tombstone struct {
	Container string
	Interface string
	NetNS     string
}

// FileName names the tombstone's file. Neither part can hold a colon (CheckContainerID, CheckIfName).
func (t Tombstone) FileName() string { return t.Container + ":" + t.Interface + ".json" }

// Append writes the content of the tombstone's file.
func (t Tombstone) Append(out []byte) []byte {
	out = append(out, `{"container":`...)
	out = AppendString(out, t.Container)
	out = append(out, `,"interface":`...)
	out = AppendString(out, t.Interface)
	out = append(out, `,"netns":`...)
	out = AppendString(out, t.NetNS)
	return append(out, "}\n"...)
}

// Beat is the content of the file `alive`: when the agent could last serve. It counts from boot (CLOCK_BOOTTIME), so setting the clock
// changes nothing, and it names the boot: links and routes do not outlive it.
type Beat struct {
	Boot   string // /proc/sys/kernel/random/boot_id
	Millis int64  // since boot, suspend included
}

// Append writes the content of the file.
func (b Beat) Append(out []byte) []byte {
	out = append(out, b.Boot...)
	out = append(out, ' ')
	out = strconv.AppendInt(out, b.Millis, 10)
	return append(out, '\n')
}

// ParseBeat reads the file's content; false if it is not whole.
func ParseBeat(text []byte) (Beat, bool) {
	for i, b := range text {
		if b != ' ' {
			continue
		}
		if text[len(text)-1] != '\n' {
			return Beat{}, false
		}
		millis, err := strconv.ParseInt(string(text[i+1:len(text)-1]), 10, 64)
		return Beat{string(text[:i]), millis}, err == nil && i > 0 && millis >= 0
	}
	return Beat{}, false
}

// Covers tells whether an agent that last beat at b may still be restarting at now.
func (b Beat) Covers(now Beat, restartMillis int64) bool {
	return b.Boot == now.Boot && b.Millis <= now.Millis && now.Millis-b.Millis <= restartMillis
}
