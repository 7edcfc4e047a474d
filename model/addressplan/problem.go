package addressplan

import "fmt"

// Problem is something wrong with a plan, as data: a command prints it, an edge adds file and line.
type Problem struct {
	Object  string // "plan NAME" or "host NAME"; empty while the plan is meant
	Field   string // path inside the object's spec, `clusters[0].racks[2].number`; empty: the whole
	Warning bool   // it works, and somebody should look at it
	Text    string // what is wrong and what comes next
}

func (p Problem) String() string {
	kind := ""
	if p.Warning {
		kind = "warning: "
	}
	if p.Field == "" {
		return fmt.Sprintf("%s: %s%s", p.Object, kind, p.Text)
	}
	return fmt.Sprintf("%s: spec.%s: %s%s", p.Object, p.Field, kind, p.Text)
}

// Errors returns the problems that are not warnings.
func Errors(ps []Problem) []Problem {
	var es []Problem
	for _, p := range ps {
		if !p.Warning {
			es = append(es, p)
		}
	}
	return es
}
