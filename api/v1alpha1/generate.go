package v1alpha1

//go:generate go run ../crdgen . ../../deploy/crds ../../docs/crds.md
