package objects

import (
	"net/netip"
	"time"

	"hexapod.dev/api/v1alpha1"
	"hexapod.dev/model/announce"
	"hexapod.dev/model/desired"
	"hexapod.dev/model/ipam"
	"hexapod.dev/model/policy"
	"hexapod.dev/model/service"
)

// Set is a configuration that is right: its objects, what they mean, and what should be said about them. Where it was read makes
// no difference to whoever uses it.
type Set struct {
	Objects  v1alpha1.Set
	Model    Model
	Seal     *ipam.Seal // of a sealed fabric; nil where host parts are readable
	Warnings v1alpha1.Problems
	Secrets  Secrets
}

// Checked makes the set of all objects of a configuration, or reports everything that is wrong with them, warnings included.
// secrets is the folder of the files that they name; a secret that cannot be had is as bad as severity says. Keys of gateways are asked of
// the host alone that has to sign with them; host empty: of whoever looks.
func Checked(all []v1alpha1.Object, secrets, host string, severity v1alpha1.Severity) (Set, v1alpha1.Problems) {
	problems := v1alpha1.Check(all)
	s := Set{Objects: v1alpha1.Group(all)}
	if len(problems.Errors()) > 0 {
		return Set{}, problems.Sort() // arithmetic with wrong numbers would only find what follows from them
	}
	model, found := For(s.Objects)
	problems = append(problems, found...)
	read, found := readSecrets(secrets, s.Objects, host)
	for _, p := range found {
		p.Severity = severity
		problems = append(problems, p)
	}
	if problems = problems.Sort(); len(problems.Errors()) > 0 {
		return Set{}, problems
	}
	s.Model, s.Seal, s.Secrets, s.Warnings = model, read.seal, read, problems
	return s, problems
}

// Config returns what the set says, seen from one host.
func (s Set) Config(host string) (desired.Config, error) {
	c, err := Config(s.Objects, s.Model, host)
	if t := c.Translation; t != nil && t.Group != nil {
		t.Group.Keys = s.Secrets.gateways[t.Name]
	}
	return c, err
}

// Speaker returns with whom a host speaks BGP and as whom; ok is false when it speaks with nobody.
func (s Set) Speaker(host string) (sp announce.Speaker, ok bool, err error) {
	return Speaker(s.Objects, s.Model, host, s.Secrets.passwords)
}

// Services returns the services of the set by name, and where that host stands.
func (s Set) Services(host string) (map[service.Name]service.Source, service.Place) {
	return Services(s.Objects, s.Model, host)
}

// Policies returns what the policies of the set speak of, and who has which address. found are prefixes of a NAT64 of others that the host
// itself found.
func (s Set) Policies(found ...netip.Prefix) (*policy.World, policy.Believed, error) {
	b, err := Believed(s.Objects, s.Model, s.Seal)
	return Policies(s.Objects, s.Model, found...), b, err
}

// Resting judges by the clock what Checked cannot: a living host whose number still rests is an error, a host that was retired
// later than now a warning.
func (s Set) Resting(now time.Time) v1alpha1.Problems {
	return Resting(s.Model, s.Objects, ipam.FromUnix(now.Unix()))
}

// Keeps refuses a new set that would change the prefix of a living host of the running one (nil: nothing runs yet), or of one
// whose prefix is known from elsewhere, such as a journal, by name. The error is of type v1alpha1.Problems.
func (s Set) Keeps(running *Set, living map[string]netip.Prefix) error {
	var before *Model
	if running != nil {
		before = &running.Model
	}
	if found := Renumbered(before, s.Model, s.Objects, living).Errors(); len(found) > 0 {
		return found
	}
	return nil
}
