package main

// The parts of a CustomResourceDefinition that we use (apiextensions.k8s.io/v1).
type (
	crd struct {
		APIVersion string   `yaml:"apiVersion"`
		Kind       string   `yaml:"kind"`
		Metadata   metadata `yaml:"metadata"`
		Spec       crdSpec  `yaml:"spec"`
	}
	metadata struct {
		Name   string            `yaml:"name"`
		Labels map[string]string `yaml:"labels,omitempty"`
	}
	crdSpec struct {
		Group    string       `yaml:"group"`
		Scope    string       `yaml:"scope"`
		Names    crdNames     `yaml:"names"`
		Versions []crdVersion `yaml:"versions"`
	}
	crdNames struct {
		Kind       string   `yaml:"kind"`
		ListKind   string   `yaml:"listKind"`
		Plural     string   `yaml:"plural"`
		Singular   string   `yaml:"singular"`
		ShortNames []string `yaml:"shortNames,omitempty"`
		Categories []string `yaml:"categories"`
	}
	crdVersion struct {
		Name         string                    `yaml:"name"`
		Served       bool                      `yaml:"served"`
		Storage      bool                      `yaml:"storage"`
		Subresources map[string]map[string]any `yaml:"subresources,omitempty"`
		Columns      []column                  `yaml:"additionalPrinterColumns"`
		Schema       map[string]*schema        `yaml:"schema"`
	}
)

// definition makes the resource of a kind. All have the scope of the cluster: what they speak of is there once for all namespaces,
// and a name is the thing.
func definition(k kind, s *schema) crd {
	d := crd{APIVersion: "apiextensions.k8s.io/v1", Kind: "CustomResourceDefinition",
		Metadata: metadata{Name: k.plural + "." + group, Labels: map[string]string{"app.kubernetes.io/part-of": "hexapod"}}}
	v := crdVersion{Name: version, Served: true, Storage: true, Columns: k.columns, Schema: map[string]*schema{"openAPIV3Schema": s}}
	if !k.wholeStatus {
		v.Subresources = map[string]map[string]any{"status": {}}
	}
	names := crdNames{Kind: k.name, ListKind: k.name + "List", Plural: k.plural, Singular: k.singular, Categories: []string{"hexapod"}}
	if k.short != "" {
		names.ShortNames = []string{k.short}
	}
	d.Spec = crdSpec{Group: group, Scope: "Cluster", Names: names, Versions: []crdVersion{v}}
	return d
}
