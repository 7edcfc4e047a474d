package dns64

import "strings"

// maxChain is the longest chain of aliases that is followed. Resolvers give up at about the same length, and a loop has no end.
const maxChain = 16

// maxName is the longest name in octets (RFC 1035 2.3.4), as it is written here: without the first length and with the last dot.
const maxName = 254

// follow walks the aliases of an answer from a name on (RFC 1034 3.6.2, RFC 6672 3.2): the name they end at, and the records on the
// way with their signatures, in the order of the walk. ok is false for a loop.
func follow(name string, records []Record) (end string, links []Record, ok bool) {
	for range maxChain {
		next, used := "", []Record(nil)
		for _, r := range records {
			if r.Type == TypeCNAME && r.Name == name {
				next, used = r.Target, append(used, r)
				break
			}
		}
		for _, r := range records { // a DNAME explains the CNAME made of it; alone it is as good as one
			if r.Type != TypeDNAME || r.Name == name || !under(name, r.Name) {
				continue
			}
			moved := moved(name, r)
			if next == "" && len(moved) <= maxName {
				next = moved
				used = append(used, Record{Name: name, Type: TypeCNAME, TTL: r.TTL, Target: moved, Ref: Made})
			}
			if next == moved {
				used = append([]Record{r}, used...)
			}
			break
		}
		if next == "" {
			return name, links, true
		}
		links = append(append(links, used...), signatures(used, records)...)
		name = next
	}
	return name, links, false
}

// moved is the name that a DNAME makes of one below it (RFC 6672 2.2).
func moved(name string, dname Record) string {
	rest := strings.TrimSuffix(name, dname.Name)
	if dname.Target == "." {
		return rest
	}
	return rest + dname.Target
}

// signatures returns those of records that sign one of links.
func signatures(links, records []Record) (found []Record) {
	for _, r := range records {
		if r.Type != TypeRRSIG {
			continue
		}
		for _, l := range links {
			if l.Ref != Made && l.Name == r.Name && l.Type == r.Covers {
				found = append(found, r)
				break
			}
		}
	}
	return found
}

// ofType returns the records of a name and type.
func ofType(name string, typ uint16, records []Record) (found []Record) {
	for _, r := range records {
		if r.Name == name && r.Type == typ {
			found = append(found, r)
		}
	}
	return found
}
