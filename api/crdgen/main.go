// Command crdgen writes the CustomResourceDefinitions of our kinds, and the reference of them, from the structs of api/v1alpha1.
//
//	crdgen SOURCE CRDS REFERENCE: the folder of the structs, the folder for a file per kind, and a file of Markdown
package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"

	"go.yaml.in/yaml/v3"
)

func main() {
	if len(os.Args) != 4 {
		fmt.Fprintln(os.Stderr, "usage: crdgen SOURCE CRDS REFERENCE")
		os.Exit(2)
	}
	if err := run(os.Args[1], os.Args[2], os.Args[3]); err != nil {
		fmt.Fprintln(os.Stderr, "crdgen:", err)
		os.Exit(1)
	}
}

func run(source, crds, reference string) error {
	w, err := readWords(source)
	if err != nil {
		return err
	}
	var pages []byte
	for _, k := range kinds() {
		s := w.object(k)
		text, err := yamlOf(definition(k, s))
		if err != nil {
			return fmt.Errorf("%s: %w", k.name, err)
		}
		if err := os.WriteFile(filepath.Join(crds, group+"_"+k.plural+".yaml"), text, 0o644); err != nil {
			return err
		}
		pages = append(pages, page(k, s)...)
	}
	return os.WriteFile(reference, append([]byte(referenceHead), pages...), 0o644)
}

func yamlOf(v any) ([]byte, error) {
	var b bytes.Buffer
	b.WriteString("# Written by `make generate` from api/v1alpha1; do not edit.\n")
	e := yaml.NewEncoder(&b)
	e.SetIndent(2)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return b.Bytes(), e.Close()
}
