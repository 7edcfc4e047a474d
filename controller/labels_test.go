//go:build cluster

package controller

import (
	"testing"
	"time"

	"hexapod.dev/api/v1alpha1"
	"hexapod.dev/edge/kube/objects"
	"hexapod.dev/model/identity"
)

// TestIdentities: sets of labels get numbers when a pod is made, without a node; labels that do not count make no set; a number that
// nobody uses is retired, kept while a host carries it, and removed after its quarantine; the same set has it again before that.
func TestIdentities(t *testing.T) {
	spec := labPlan()
	spec.Identity = v1alpha1.IdentityRules{ExcludeLabels: []string{"owner"}, Quarantine: v1alpha1.Duration{Duration: time.Second}}
	k := newCluster(t, spec)
	c, _ := k.start(Options{})
	k.pod("default", "a1", map[string]string{"app": "a", "pod-template-hash": "x", "owner": "me"}, nil)
	k.pod("default", "a2", map[string]string{"app": "a", "pod-template-hash": "y"}, nil)
	k.pod("kube-system", "a1", map[string]string{"app": "a"}, nil)
	k.pod("default", "none", nil, nil)
	k.eventually("three sets have numbers", func() bool { return k.setsWithNumbers() == 3 })
	numbers := map[string]*v1alpha1.Identity{}
	for _, i := range list(k, objects.Identities()) {
		numbers[i.Spec.Namespace+"/"+i.Spec.Labels["app"]] = i
		if i.Spec.Number < v1alpha1.MinIdentity || len(i.Spec.Labels) > 1 {
			t.Errorf("identity %+v", i.Spec)
		}
	}
	if len(numbers) != 3 {
		t.Fatalf("numbers: %v", numbers)
	}

	// A host carries the number of a pod that is gone: it stays.
	a := numbers["default/a"]
	if err := objects.In(k.c, objects.Pods()).Namespace("default").Delete(t.Context(), "a1", objects.Only{}); err != nil {
		t.Fatal(err)
	}
	if err := objects.In(k.c, objects.Pods()).Namespace("default").Delete(t.Context(), "a2", objects.Only{}); err != nil {
		t.Fatal(err)
	}
	k.eventually("no pod has the set", func() bool { pods, _ := c.pods.count(); return pods == 2 })
	made := make1(k, objects.HostStatuses(), v1alpha1.NewHostStatus("h", v1alpha1.HostReport{Identities: []uint32{a.Spec.Number}}))
	k.eventually("the report is heard", func() bool { _, carried := c.numbers.state(numberOf(a)); return carried })
	k.old(c, a)
	c.inTerm(func(in *term) {
		if err := in.returnNumbers(t.Context(), 0); err != nil {
			t.Error(err)
		}
	})
	if i, err := objects.In(k.c, objects.Identities()).Get(t.Context(), a.ObjectName()); err != nil || !i.Living() {
		t.Errorf("a number that a host carries: %+v, %v", i, err)
	}

	// The host carries it no more: it is retired, and the set that comes back has it again.
	made.Status.Identities = nil
	if _, err := objects.In(k.c, objects.HostStatuses()).Update(t.Context(), made); err != nil {
		t.Fatal(err)
	}
	k.eventually("it is retired", func() bool {
		k.old(c, a)
		i, err := objects.In(k.c, objects.Identities()).Get(t.Context(), a.ObjectName())
		return err == nil && !i.Living() || err != nil
	})
}

// old makes an identity look a day old to the controller: numbers are not taken back in their first minute.
func (k *cluster) old(c *Controller, i *v1alpha1.Identity) {
	c.numbers.mu.Lock()
	defer c.numbers.mu.Unlock()
	if have, ok := c.numbers.objects[numberOf(i)]; ok {
		again := *have
		at := v1alpha1.TimeFrom(time.Now().Add(-24 * time.Hour))
		again.Metadata.CreationTimestamp = &at
		c.numbers.objects[numberOf(i)] = &again
	}
}

func numberOf(i *v1alpha1.Identity) identity.Number { return identity.Number(i.Spec.Number) }

// TestClaims: a pod that asks for a fixed address has the same one every time, of a pool that was granted to its namespace, and no
// other pod has it.
func TestClaims(t *testing.T) {
	k := newCluster(t, labPlan())
	make1(k, objects.Pools(), v1alpha1.NewPool("web", v1alpha1.PoolSpec{Prefix: pfx("2001:db8:a010:0:5::/80"), Namespaces: []string{"default"}}))
	c, _ := k.start(Options{})
	fromPool := map[string]string{poolAnnotation: "web"}
	for _, name := range []string{"w0", "w1", "w2"} {
		k.pod("default", name, nil, fromPool)
	}
	k.pod("default", "seven", nil, map[string]string{addressAnnotation: "2001:db8:a010:0:5::7"})
	k.eventually("four have addresses", func() bool { return len(list(k, objects.Addresses())) == 4 })
	of := map[string]string{}
	for _, a := range list(k, objects.Addresses()) {
		of[a.Spec.Name] = a.Spec.Address.String()
		if a.ObjectName() != v1alpha1.AddressName(a.Spec.Address.Addr) {
			t.Errorf("%s is named %s", a.Spec.Address, a.ObjectName())
		}
	}
	if len(of) != 4 || of["seven"] != "2001:db8:a010:0:5::7" {
		t.Errorf("addresses: %v", of)
	}
	k.pod("kube-system", "stranger", nil, fromPool)
	k.pod("default", "robber", nil, map[string]string{addressAnnotation: "2001:db8:a010:0:5::7"})
	k.pod("default", "lost", nil, map[string]string{poolAnnotation: "none"})
	for name, why := range map[string]Why{"stranger": NotGranted, "robber": AddressTaken, "lost": NoPool} {
		k.eventually(name+" is told "+string(why), func() bool {
			for _, e := range list(k, objects.Events()) {
				if e.InvolvedObject.Name == name && e.Reason == string(why) {
					return true
				}
			}
			return false
		})
	}
	if err := objects.In(k.c, objects.Pods()).Namespace("default").Delete(t.Context(), "w1", objects.Only{}); err != nil {
		t.Fatal(err)
	}
	k.eventually("w1 is gone", func() bool { _, there := c.pods.claim(objects.Key{Namespace: "default", Name: "w1"}); return !there })
	k.pod("default", "w1", nil, fromPool)
	k.pod("default", "w3", nil, fromPool)
	k.eventually("w3 has one", func() bool { return len(list(k, objects.Addresses())) == 5 })
	for _, a := range list(k, objects.Addresses()) {
		if before, ok := of[a.Spec.Name]; ok && before != a.Spec.Address.String() {
			t.Errorf("%s had %s and has %s", a.Spec.Name, before, a.Spec.Address)
		}
	}
}

// TestAccepted: what is wrong between objects that are right one by one is written into the one that can be repaired.
func TestAccepted(t *testing.T) {
	k := newCluster(t, labPlan())
	make1(k, objects.Pools(), v1alpha1.NewPool("right", v1alpha1.PoolSpec{Prefix: pfx("2001:db8:a010:0:5::/80")}))
	make1(k, objects.Pools(), v1alpha1.NewPool("wrong", v1alpha1.PoolSpec{Prefix: pfx("2001:db8:a010:1000::/64")})) // where hosts are numbered
	k.start(Options{})
	translation := func(name string) v1alpha1.ConditionStatus {
		o, err := objects.In(k.c, objects.Translations()).Get(t.Context(), name)
		if err != nil {
			return ""
		}
		c, _ := o.Status.Condition(v1alpha1.ConditionAccepted)
		return c.Status
	}
	accepted := func(name string) v1alpha1.Condition {
		p, err := objects.In(k.c, objects.Pools()).Get(t.Context(), name)
		if err != nil {
			return v1alpha1.Condition{}
		}
		c, _ := p.Status.Condition(v1alpha1.ConditionAccepted)
		return c
	}
	k.eventually("both are judged", func() bool { return accepted("right").Status != "" && accepted("wrong").Status != "" })
	if c := accepted("right"); c.Status != v1alpha1.ConditionTrue {
		t.Errorf("right: %+v", c)
	}
	if c := accepted("wrong"); c.Status != v1alpha1.ConditionFalse || c.Reason != string(Refused) {
		t.Errorf("wrong: %+v", c)
	}
	pools := []string{"45.66.0.0/30", "45.66.0.2/31"}
	for i, name := range []string{"a", "b"} { // which share their addresses
		make1(k, objects.Translations(), v1alpha1.NewTranslation(name, v1alpha1.TranslationSpec{Pool: []v1alpha1.Prefix{pfx(pools[i])}, HostLabels: map[string]string{"gateway": name}}))
	}
	k.eventually("of two translations one is accepted", func() bool {
		return translation("a") == v1alpha1.ConditionTrue && translation("b") == v1alpha1.ConditionFalse
	})
}
