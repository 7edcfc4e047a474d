package topology

import (
	"fmt"
	"net/netip"
)

// End is one side of a link.
type End struct {
	Machine string
	Link    string // interface name, at most 15 bytes
	Addr    netip.Addr
}

// Link is one cable of the fabric.
type Link struct{ Above, Below End }

// DownlinkName is the name of a router's interface towards the machine below it, by the number of that machine's uplink, from 0.
func DownlinkName(machine string, uplink int) string {
	if uplink == 0 {
		return "to-" + machine
	}
	return fmt.Sprintf("to-%s-%d", machine, uplink+1)
}

// UplinkName is the name of a machine's interface towards the router above, by its number, from 0.
func UplinkName(uplink int) string { return fmt.Sprintf("up%d", uplink) }

func cable(above, below string, uplink int) Link {
	return Link{End{above, DownlinkName(below, uplink), Above}, End{below, UplinkName(uplink), Below}}
}

// Links lists the cables between the machines of a lab: hosts to ToRs, ToRs to the spine, the spine to the outside.
func (s Size) Links(hosts []Host) []Link {
	links := []Link{cable(Outside, Spine, 0)}
	for _, t := range s.Tors() {
		links = append(links, cable(Spine, t.Name, 0))
	}
	for _, h := range hosts {
		links = append(links, s.HostLinks(h)...)
	}
	return links
}

// HostLinks are the cables of one host, by the number of its uplink.
func (s Size) HostLinks(h Host) []Link {
	var links []Link
	for n := range s.Uplinks() {
		links = append(links, cable(TorName(h.Rack, n%s.torsPerRack()), h.Name, n))
	}
	return links
}

// Machines lists what a lab consists of: routers first, from the outside in, then the hosts.
func (s Size) Machines(hosts []Host) []string {
	names := []string{Outside, Spine}
	for _, t := range s.Tors() {
		names = append(names, t.Name)
	}
	for _, h := range hosts {
		names = append(names, h.Name)
	}
	return names
}
