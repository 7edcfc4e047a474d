package v1alpha1

import (
	"bytes"
	"fmt"

	"go.yaml.in/yaml/v3"
)

// Encode writes objects as the documents of one file, in the given order. Decode reads back equal objects.
func Encode(objects ...Object) ([]byte, error) {
	if len(objects) == 0 {
		return nil, nil
	}
	var b bytes.Buffer
	e := yaml.NewEncoder(&b)
	e.SetIndent(2)
	for _, o := range objects {
		if err := e.Encode(o); err != nil {
			return nil, fmt.Errorf("write %s %s as YAML: %w", o.Head().Kind, o.ObjectName(), err)
		}
	}
	if err := e.Close(); err != nil {
		return nil, fmt.Errorf("write YAML: %w", err)
	}
	return b.Bytes(), nil
}
