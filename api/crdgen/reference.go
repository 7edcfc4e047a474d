package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

const referenceHead = `# Kubernetes resources

Written by ` + "`make generate`" + ` from api/v1alpha1; do not edit.

Every kind has the scope of the cluster. ` + "`kubectl get hexapod`" + ` lists all of them. Objects that give something out are named after it:
an address by its 32 hexadecimal digits, a prefix by those of its address, ` + "`-`" + ` and its length, an identity by ` + "`id-`" + ` and its number.
The fields of ` + "`spec`" + ` that people write are explained in [configuration.md](configuration.md), with defaults; the same documents may stand in a
folder of YAML on a host without Kubernetes.
`

// page is the section of a kind.
func page(k kind, s *schema) []byte {
	var b strings.Builder
	fmt.Fprintf(&b, "\n## %s\n\n%s\n\n", k.name, s.Description)
	names := k.plural
	if k.short != "" {
		names += "`, `" + k.short
	}
	fmt.Fprintf(&b, "kubectl: `%s`\n\n| field | form | meaning |\n|---|---|---|\n", names)
	for _, part := range []string{"spec", "status"} {
		if p := s.Properties[part]; p != nil {
			rows(&b, part, p)
		}
	}
	if len(k.rules) > 0 {
		b.WriteString("\nThe API server refuses what breaks one of these:\n\n")
	}
	var said []string
	for _, r := range k.rules {
		if !slices.Contains(said, r.Message) {
			fmt.Fprintf(&b, "- %s\n", r.Message)
		}
		said = append(said, r.Message)
	}
	return []byte(b.String())
}

func rows(b *strings.Builder, at string, s *schema) {
	for _, name := range slices.Sorted(maps.Keys(s.Properties)) {
		p := s.Properties[name]
		field, form := at+"."+name, p
		if p.Items != nil {
			field, form = field+"[]", p.Items
		}
		if p.AdditionalProperties != nil {
			field, form = field+".KEY", p.AdditionalProperties
		}
		required := ""
		if slices.Contains(s.Required, name) {
			required = ", required"
		}
		fmt.Fprintf(b, "| `%s` | %s%s | %s |\n", field, formOf(form), required, strings.ReplaceAll(p.Description, "|", `\|`))
		rows(b, field, form)
	}
}

func formOf(s *schema) string {
	switch {
	case s.IntOrString:
		return "name or number"
	case len(s.Enum) > 0:
		return "`" + strings.Join(s.Enum, "`, `") + "`"
	case s.Format == "cidr":
		return "prefix"
	case s.Format == "date-time":
		return "time"
	case s.Type == "integer":
		return "number"
	case s.Type == "boolean":
		return "true or false"
	case s.Type == "object":
		return "mapping"
	}
	return "text"
}
