package agent

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"hexapod.dev/agent/local"
	"hexapod.dev/linux/router"
	"hexapod.dev/linux/sysctl"
	"hexapod.dev/model/desired"
)

// cared is what the last look at the host led to.
type cared struct {
	report sysctl.Report
	tables []desired.Undone // tables of the kernel that are not this host's to set
}

// careForHost sets the host's own addresses and settings.
func (a *Agent) careForHost(ctx context.Context) error {
	st := desired.For(a.sections.Snapshot())
	delta, err := a.kernel.Addresses(ctx, st)
	a.changed(partHost, delta)
	report, careErr := a.kernel.care.Reconcile(ctx, st.Uplinks)
	if st.IPv4 {
		forward, err := a.kernel.care.ForwardIPv4(ctx)
		report.Delta.Change, careErr = append(report.Delta.Change, forward.Change...), errors.Join(careErr, err)
	}
	sizes, left, sizeErr := a.kernel.care.Tables(ctx)
	for _, k := range slices.Concat(report.Delta.Change, sizes.Change) {
		a.metrics.changes.WithLabelValues(partHost, "change").Inc()
		a.log.Info("changed a setting of the kernel", "setting", string(k))
	}
	a.cared.Store(&cared{report, left})
	return errors.Join(err, careErr, sizeErr, a.kernel.Widen(st), a.kernel.routers.Care(report.Cared, report.Deaf))
}

// toldOfRouter logs that an uplink lost its default route or got one again.
func (a *Agent) toldOfRouter(l router.Link, err error) {
	switch {
	case err != nil:
		a.log.Warn("routers cannot be asked for an advertisement", "uplink", l.Name, "error", err)
	case l.Lost:
		a.log.Warn(string(router.Lost), "uplink", l.Name)
	default:
		a.log.Info("the uplink has a default route from a router advertisement again", "uplink", l.Name)
	}
}

// reportCare tells whether the host stays reachable while it forwards: its default routes, tables and MTUs.
func (a *Agent) reportCare(s desired.Snapshot, st desired.State) []local.Object {
	list := []local.Object{a.reportMTU(s, st)}
	if c := a.cared.Load(); c != nil {
		tables := local.Object{Kind: "care", Name: "neighbour table", State: local.Done, Detail: "large enough"}
		for _, u := range c.tables {
			tables.Detail = string(u.Why)
		}
		list = append(list, tables)
	}
	links, err := a.kernel.routers.Links()
	if err != nil {
		return append(list, local.Object{Kind: "care", Name: "default route", State: local.Failed, Why: local.OneLine(err)})
	}
	for _, l := range links {
		list = append(list, reportRouter(l))
	}
	return list
}

func (a *Agent) reportMTU(s desired.Snapshot, st desired.State) local.Object {
	o := local.Object{Kind: "care", Name: "mtu", State: local.Done, Detail: "no uplink is named"}
	if sizes := s.Sizes(); sizes.MTU != 0 {
		o.Detail = fmt.Sprintf("endpoints have %d, as the uplinks", sizes.MTU)
		if sizes.Near != 0 {
			o.Detail += fmt.Sprintf(", and %d to each other", sizes.Near)
		}
		if sizes.Big() {
			o.Detail += fmt.Sprintf("; super-packets of %d bytes, on routes with %d", sizes.Segments, sizes.RouteMTU())
		}
	}
	for _, u := range st.Undone {
		if u.Kind == o.Kind && u.Name == o.Name {
			o.State, o.Why = local.Failed, string(u.Why)
		}
	}
	return o
}

func reportRouter(l router.Link) local.Object {
	o := local.Object{Kind: "care", Name: "default route on " + l.Name, State: local.Done, Detail: "no router advertises one"}
	switch {
	case l.Lost:
		o.State, o.Why = local.Failed, fmt.Sprintf("%s (asked %d times)", router.Lost, l.Asked)
	case len(l.Routes) > 0:
		var routes []string
		for _, r := range l.Routes {
			text := "via " + r.Via.String()
			if r.Expires > 0 {
				text += ", expires in " + r.Expires.Truncate(time.Second).String() + " unless advertised again"
			}
			routes = append(routes, text)
		}
		o.Detail = strings.Join(routes, "; ")
	}
	return o
}
