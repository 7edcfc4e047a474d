package v1alpha1

// Metadata is the part of a document that Kubernetes owns. Files have a name, labels and annotations, and policies a
// namespace. The rest is what the API server writes, in JSON alone.
type Metadata struct {
	Name        Name              `json:"name" yaml:"name"`
	Labels      map[string]string `json:"labels,omitempty" yaml:"labels,omitempty"`
	Annotations map[string]string `json:"annotations,omitempty" yaml:"annotations,omitempty"`

	// Namespace is empty for every kind of ours; policies, nodes, pods and the like are read with the same metadata.
	Namespace string `json:"namespace,omitempty" yaml:"namespace,omitempty"`
	// UID tells two objects apart that had one name, one after the other.
	UID string `json:"uid,omitempty" yaml:"-"`
	// ResourceVersion is the version that was read. A write that carries it is refused when somebody wrote in between.
	ResourceVersion string `json:"resourceVersion,omitempty" yaml:"-"`
	// Generation counts the versions of the spec.
	Generation        int64            `json:"generation,omitempty" yaml:"-"`
	CreationTimestamp *Time            `json:"creationTimestamp,omitempty" yaml:"-"`
	DeletionTimestamp *Time            `json:"deletionTimestamp,omitempty" yaml:"-"`
	OwnerReferences   []OwnerReference `json:"ownerReferences,omitempty" yaml:"-"`
	Finalizers        []string         `json:"finalizers,omitempty" yaml:"-"`
}

// OwnerReference names the object without which this one is removed.
type OwnerReference struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Name       string `json:"name"`
	UID        string `json:"uid"`
}
