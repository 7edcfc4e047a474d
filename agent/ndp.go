package agent

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"hexapod.dev/agent/local"
	"hexapod.dev/linux/ndp"
	"hexapod.dev/model/desired"
)

// partAnswers answers on uplinks for addresses that nobody routes to this host.
const partAnswers = "answers"

// openAnswers opens the responder. It costs nothing before an uplink asks for it.
func (a *Agent) openAnswers(closing *closers) (err error) {
	if a.answers, err = ndp.OpenResponder(a.options.NS); err != nil {
		return err
	}
	closing.add(a.answers)
	return nil
}

// runAnswers answers until ctx ends. The log tells of addresses that others say to have.
func (a *Agent) runAnswers(ctx context.Context) error {
	a.kick(partAnswers)
	done := make(chan error, 1)
	go func() { done <- a.answers.Run(ctx) }()
	for {
		select {
		case err := <-done:
			return err
		case <-a.answers.Changed():
			for _, s := range a.answers.State() {
				for _, c := range s.Conflicts {
					a.log.Warn("another host says to have an address of this one", "addr", c.Addr, "link", c.Link, "mac", c.MAC.String(), "times", c.Times)
				}
			}
		}
	}
}

// answerAll makes the responder answer for every living address.
func (a *Agent) answerAll(ctx context.Context) error {
	a.passing.Lock()
	defer a.passing.Unlock()
	s := a.sections.Snapshot()
	want := map[string][]ndp.Answer{}
	for _, u := range answering(s) {
		var list []ndp.Answer
		for _, addr := range desired.For(s).Addresses {
			list = append(list, ndp.Answer{Addr: addr, Shared: u.Shared})
		}
		for _, e := range s.Endpoints.All() {
			for _, addr := range e.Addrs {
				list = append(list, ndp.Answer{Addr: addr, Shared: u.Shared})
			}
		}
		want[u.Name] = list
	}
	delta, err := a.answers.Reconcile(ctx, want)
	a.changed(partAnswers, delta)
	return err
}

// answering returns the uplinks on which this host answers for its addresses.
func answering(s desired.Snapshot) []desired.Uplink {
	return slices.DeleteFunc(slices.Clone(s.Uplinks()), func(u desired.Uplink) bool { return !u.Answer })
}

// claim looks whether others have the addresses of e, where a prefix is shared (RFC 4862 5.4). It takes a second.
func (a *Agent) claim(ctx context.Context, e desired.Endpoint) error {
	var errs []error
	for _, u := range answering(a.sections.Snapshot()) {
		for _, addr := range e.Addrs {
			if u.Shared {
				errs = append(errs, a.answers.Ensure(ctx, u.Name, ndp.Answer{Addr: addr, Shared: true}))
			}
		}
	}
	return errors.Join(errs...)
}

// answerFor answers for the addresses of e from now on. What fails is tried again by a pass.
func (a *Agent) answerFor(ctx context.Context, e desired.Endpoint) {
	for _, u := range answering(a.sections.Snapshot()) {
		for _, addr := range e.Addrs {
			if err := a.answers.Ensure(ctx, u.Name, ndp.Answer{Addr: addr}); err != nil {
				a.kick(partAnswers)
			}
		}
	}
}

// answerNoMore ends answering for the addresses of e.
func (a *Agent) answerNoMore(e desired.Endpoint) {
	for _, u := range answering(a.sections.Snapshot()) {
		for _, addr := range e.Addrs {
			a.answers.Remove(u.Name, addr)
		}
	}
}

// reportAnswers tells of each uplink that answers, and of each address that somebody else says to have.
func (a *Agent) reportAnswers(s desired.Snapshot) []local.Object {
	var list []local.Object
	state := a.answers.State()
	for _, u := range answering(s) {
		have := state[u.Name]
		o := stateOf(local.Object{Kind: "answers", Name: u.Name,
			Detail: fmt.Sprintf("%d addresses, %d groups, %d answered, %d defended", have.Addrs, have.Groups, have.Answered, have.Defended)},
			a.runners[partAnswers])
		list = append(list, o)
		for _, c := range have.Conflicts {
			list = append(list, local.Object{Kind: "conflict", Name: c.Addr.String() + " on " + c.Link, State: local.Failed,
				Why: fmt.Sprintf("the host with MAC %s says to have it, last at %s", c.MAC, c.When.UTC().Format(time.RFC3339))})
		}
	}
	return list
}
