package agent

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"hexapod.dev/edge/file/whole"
	"hexapod.dev/model/desired"
)

// bootName is the file in the state folder that names the boot in which the endpoints were last looked at.
const bootName = "boot"

// restarted is why an endpoint of an earlier boot is no more. Its namespace may have a path all the same: that of a process which
// got the number of another one, /proc/PID/ns/net.
const restarted desired.Why = "the host was restarted, and its network namespace went with that"

// recover fills the section of endpoints from the book and compares it with the kernel: an endpoint that has its link lives; one
// without link whose namespace has gone is retired; any other was cut off half way, and the first pass makes it whole.
func (a *Agent) recover(ctx context.Context) error {
	sameBoot, err := a.sameBoot()
	if err != nil {
		return err
	}
	have, err := a.kernel.links.Observe(ctx)
	if err != nil {
		return err
	}
	linked := make(map[desired.EndpointKey]bool, len(have))
	for _, l := range have {
		linked[l.Key] = true
	}
	noted := true
	for _, given := range a.book.Living() {
		e := a.endpointOf(given)
		why := a.abandoned(e)
		if !sameBoot {
			why = restarted
		}
		if why != "" && !linked[e.Key] {
			a.log.Info("endpoint retired", "endpoint", e.Key, "why", why)
			if err := errors.Join(a.book.Retire(ctx, e.Key), a.second.Retire(ctx, e.Key)); err != nil {
				a.log.Error("retirement not written; the next start tries again", "endpoint", e.Key, "error", err)
				noted = false
			}
			continue
		}
		a.sections.SetEndpoint(e)
	}
	if !noted { // a full disk keeps nobody from serving those who live
		return nil
	}
	a.noteBoot()
	return nil
}

// sameBoot reports whether the host is in the boot in which an agent last looked at its endpoints. Without a note it is.
func (a *Agent) sameBoot() (bool, error) {
	noted, err := os.ReadFile(filepath.Join(a.options.StateDir, bootName))
	if errors.Is(err, fs.ErrNotExist) {
		return true, nil
	}
	return string(noted) == a.boot, err
}

// noteBoot writes the boot down, as a whole: half a note would retire every endpoint.
func (a *Agent) noteBoot() {
	path := filepath.Join(a.options.StateDir, bootName)
	if err := whole.Write(path, []byte(a.boot), 0o600); err != nil {
		a.log.Error("boot not noted", "error", err)
	}
}
