package main

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"hexapod.dev/api/v1alpha1"
)

// schema is the part of OpenAPI v3 that CustomResourceDefinitions know (https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#validation).
type schema struct {
	Description          string             `yaml:"description,omitempty"`
	Type                 string             `yaml:"type,omitempty"`
	Format               string             `yaml:"format,omitempty"`
	Pattern              string             `yaml:"pattern,omitempty"`
	Enum                 []string           `yaml:"enum,omitempty"`
	Minimum              *int64             `yaml:"minimum,omitempty"`
	Maximum              *int64             `yaml:"maximum,omitempty"`
	MaxLength            int                `yaml:"maxLength,omitempty"`
	MaxItems             int                `yaml:"maxItems,omitempty"`
	MaxProperties        int                `yaml:"maxProperties,omitempty"`
	IntOrString          bool               `yaml:"x-kubernetes-int-or-string,omitempty"`
	ListType             string             `yaml:"x-kubernetes-list-type,omitempty"`
	ListKeys             []string           `yaml:"x-kubernetes-list-map-keys,omitempty"`
	Items                *schema            `yaml:"items,omitempty"`
	Properties           map[string]*schema `yaml:"properties,omitempty"`
	AdditionalProperties *schema            `yaml:"additionalProperties,omitempty"`
	Required             []string           `yaml:"required,omitempty"`
	Rules                []rule             `yaml:"x-kubernetes-validations,omitempty"`
}

// forms are the types that are written as one text.
var forms = map[reflect.Type]schema{
	reflect.TypeFor[v1alpha1.Prefix]():   {Type: "string", Format: "cidr", MaxLength: 43},
	reflect.TypeFor[v1alpha1.Addr]():     {Type: "string", MaxLength: 45, Pattern: `^[0-9A-Fa-f:.]+$`},
	reflect.TypeFor[v1alpha1.Duration](): {Type: "string", MaxLength: 32, Pattern: `^([0-9]+d|([0-9]+(\.[0-9]+)?(ns|us|ms|s|m|h))+)$`},
	reflect.TypeFor[v1alpha1.Time]():     {Type: "string", Format: "date-time"},
	reflect.TypeFor[v1alpha1.MAC]():      {Type: "string", Pattern: `^[0-9A-Fa-f]{2}([:-][0-9A-Fa-f]{2}){5}$`},
	reflect.TypeFor[v1alpha1.Ref]():      {IntOrString: true},
}

// object is the schema of a kind: spec and status of its struct, with its rules.
func (w words) object(k kind) *schema {
	t := k.structure
	s := &schema{Type: "object", Description: w.types[t.Name()], Rules: k.rules, Properties: map[string]*schema{
		"apiVersion": {Type: "string"}, "kind": {Type: "string"}, "metadata": {Type: "object"},
	}}
	if k.nameLength > 0 {
		// The API server takes the bound into its reckoning of costs only where generateName stands beside it.
		name := schema{Type: "string", MaxLength: k.nameLength}
		s.Properties["metadata"].Properties = map[string]*schema{"name": &name, "generateName": &name}
	}
	for i := range t.NumField() {
		f := t.Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if f.Anonymous || name == "-" || name == "" {
			continue
		}
		s.Properties[name] = w.of(f.Type)
		if d := w.fields[t.Name()+"."+f.Name]; d != "" {
			s.Properties[name].Description = d
		}
		if name == "spec" {
			s.Required = []string{"spec"}
			for list, n := range k.longest {
				s.Properties[name].Properties[list].MaxItems = n
			}
		}
	}
	return s
}

// of is the schema of a type.
func (w words) of(t reflect.Type) *schema {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if form, ok := forms[t]; ok {
		return &form
	}
	switch t.Kind() {
	case reflect.Struct:
		s := &schema{Type: "object", Description: w.types[t.Name()], Properties: map[string]*schema{}}
		w.fieldsOf(t, s)
		slices.Sort(s.Required)
		return s
	case reflect.Slice:
		s := &schema{Type: "array", Items: w.of(t.Elem())}
		if t.Elem() == reflect.TypeFor[v1alpha1.Condition]() {
			s.ListType, s.ListKeys = "map", []string{"type"}
		}
		return s
	case reflect.Map:
		return &schema{Type: "object", MaxProperties: maxProperties, AdditionalProperties: w.of(t.Elem())}
	case reflect.Bool:
		return &schema{Type: "boolean"}
	case reflect.String:
		return &schema{Type: "string", MaxLength: maxText, Enum: w.values[t.Name()]}
	}
	return integer(t)
}

// The bounds let the API server reckon what a rule can cost. No text or mapping that anybody writes comes near.
const (
	maxText       = 4096
	maxProperties = 256
)

func integer(t reflect.Type) *schema {
	s := &schema{Type: "integer"}
	switch t.Kind() {
	case reflect.Uint16, reflect.Uint32:
		highest := int64(1)<<t.Bits() - 1
		s.Minimum, s.Maximum = new(int64), &highest
	case reflect.Int, reflect.Int64:
	default:
		panic(fmt.Sprintf("%s has no form in a resource", t)) // whoever added such a field sees this on make generate
	}
	return s
}

// fieldsOf adds the fields of a struct; those of an embedded one stand beside its own.
func (w words) fieldsOf(t reflect.Type, s *schema) {
	for i := range t.NumField() {
		f := t.Field(i)
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name == "-" {
			continue
		}
		if f.Anonymous && name == "" {
			w.fieldsOf(f.Type, s)
			continue
		}
		p := w.of(f.Type)
		if d := w.fields[t.Name()+"."+f.Name]; d != "" {
			p.Description = d
		}
		s.Properties[name] = p
		if !strings.Contains(options, "omit") {
			s.Required = append(s.Required, name)
		}
	}
}
