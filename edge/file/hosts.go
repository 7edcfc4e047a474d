package file

import (
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"hexapod.dev/api/v1alpha1"
	"hexapod.dev/model/addressplan"
	"hexapod.dev/model/ipam"
)

// AddHost gives a new host the next number of its rack and writes it into the folder as host-NAME.yaml. spec.Cluster may be
// left out where the plan has one; spec.Number is filled in. now decides which rested numbers are back. The folder must be
// right before and is right after; two writers never take one number.
func AddHost(dir, name string, spec v1alpha1.HostSpec, now time.Time) (o *v1alpha1.Host, err error) {
	err = change(dir, func(f folder, s Set) error {
		o, err = newHost(f, s, name, spec, now)
		if err != nil {
			return err
		}
		text, err := v1alpha1.Encode(o)
		if err != nil {
			return err
		}
		return f.write(fileText{hostFile(name), text})
	})
	return o, err
}

func hostFile(name string) string { return "host-" + name + ".yaml" }

// newHost makes the Host that AddHost writes.
func newHost(f folder, s Set, name string, spec v1alpha1.HostSpec, now time.Time) (*v1alpha1.Host, error) {
	if h, taken := s.Objects.Host(name); taken {
		return nil, fmt.Errorf("host %s is already in %s: give the new one another name, a retired host keeps its record", name, h.Source.File)
	}
	c, r, err := s.Model.Plan.Place(addressplan.Host{Name: name, Cluster: onlyCluster(s, spec.Cluster), Rack: string(spec.Rack)})
	if err != nil {
		return nil, err
	}
	n, err := s.Model.Plan.NextHost(c, r, addressplan.Seconds(ipam.FromUnix(now.Unix())))
	if err != nil {
		return nil, err
	}
	number := uint32(n)
	if uint64(number) != n {
		return nil, fmt.Errorf("host %s would be number %d: a Host holds 32 bits of it", name, n)
	}
	spec.Cluster, spec.Rack, spec.Number = v1alpha1.Ref(c.Name), v1alpha1.Ref(r.Name), &number
	o := v1alpha1.NewHost(name, spec)
	if problems := v1alpha1.Validate(o).Errors(); len(problems) > 0 {
		return nil, problems
	}
	if slices.ContainsFunc(f.files, func(t fileText) bool { return t.name == hostFile(name) }) {
		return nil, fmt.Errorf("file %s is there and holds something else than host %s: rename it", filepath.Join(f.dir, hostFile(name)), name)
	}
	return o, nil
}

// onlyCluster fills in the cluster where there is no choice.
func onlyCluster(s Set, ref v1alpha1.Ref) string {
	if ref == "" && len(s.Model.Plan.Clusters) == 1 {
		return s.Model.Plan.Clusters[0].Name
	}
	return string(ref)
}
