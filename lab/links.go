package lab

import (
	"fmt"

	"hexapod.dev/lab/topology"
	"hexapod.dev/linux/rtnl"
)

// SetLink takes a link of a machine down, as if its cable were pulled, or brings it up again with the address it had.
func (l *Lab) SetLink(machine, link string, up bool) error {
	for _, cable := range l.state.Size.Links(l.state.Hosts) {
		for _, end := range []topology.End{cable.Above, cable.Below} {
			if end.Machine != machine || end.Link != link {
				continue
			}
			return inside(l.place(machine), func(k kernel) error {
				if up {
					return k.up(link, end.Addr) // the kernel forgets link-local addresses of a link that is down
				}
				i, err := k.index(link)
				if err != nil {
					return err
				}
				return k.conn.Do(rtnl.SetUp(i, link, false))
			})
		}
	}
	return fmt.Errorf("machine %s has no cable at %s", machine, link)
}
