package main

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// sources are the files that decide about packets. The stubs and the hooks of sockets around service.h have tests of their own.
var sources = []string{
	"judge.c", "include/flow.h", "include/forward.h", "include/fragment.h", "include/gateway.h", "include/header.h", "include/icmp.h", "include/legacy.h",
	"include/lead.h", "include/policy.h", "include/rewrite.h", "include/service.h", "include/service_flow.h", "include/state.h", "include/ways.h", "include/who.h",
}

// fault is one mistake at one place.
type fault struct {
	kind, file string
	line       int // from 1
	old, new   string
}

func (f fault) String() string {
	return fmt.Sprintf("%s, bpf/%s line %d: %s => %s", f.kind, f.file, f.line, strings.TrimSpace(f.old), strings.TrimSpace(f.new))
}

// operator is a kind of mistake: what it may make of a line. next is the line behind.
type operator struct {
	name string
	make func(line, next string) []string
}

var operators = []operator{
	{"comparison flipped", flipped},
	{"bound dropped", dropped},
	{"off by one", byOne},
	{"field swapped", swapped},
	{"checksum skipped", skipped},
	{"map key truncated", truncated},
}

var (
	comparison = regexp.MustCompile(` (==|!=|<=|>=|<|>) `)
	opposite   = map[string]string{"==": "!=", "!=": "==", "<": ">=", ">": "<=", "<=": ">", ">=": "<"}
	guard      = regexp.MustCompile(`^(\s*(?:} else )?if \()(.*[<>].*)\)$`)
	number     = regexp.MustCompile(`([-+*<>=(] )(\d+)\b`)
	constant   = regexp.MustCompile(`^#define (?:LIFE_\w+|\w+_LEN|MAX_\w+|\w+_PER_UNIT|FLOW_WAYS|SEAL_\w+|IPV6_MIN_MTU) .*?(\d+)\b`)
	field      = regexp.MustCompile(`(->|\.)(src|dst|src_port|dst_port|src_mac|dst_mac|a_port|b_port|mac|host_mac|from|to)\b`)
	others     = map[string]string{
		"src": "dst", "dst": "src", "src_port": "dst_port", "dst_port": "src_port", "src_mac": "dst_mac", "dst_mac": "src_mac",
		"a_port": "b_port", "b_port": "a_port", "mac": "host_mac", "host_mac": "mac", "from": "to", "to": "from",
	}
	summing = []struct {
		call *regexp.Regexp
		not  string
	}{{regexp.MustCompile(`bpf_l4_csum_replace\(`), "0 && "}, {regexp.MustCompile(`bpf_csum_diff\(`), "0 * "}}
	keyed = regexp.MustCompile(`^\s*((?:k|key|part|pair|r->part|room->pair|r->call\.key|sender|client)(?:\.|->)(?:addr|src|dst|from|to)|union addr key|at\.addr) = .*;$`)
)

func flipped(line, _ string) (list []string) {
	if strings.Contains(line, "for (") {
		return nil // a loop that never runs, or never ends
	}
	for _, at := range comparison.FindAllStringSubmatchIndex(line, -1) {
		list = append(list, line[:at[2]]+opposite[line[at[2]:at[3]]]+line[at[3]:])
	}
	return list
}

func dropped(line, next string) []string {
	m := guard.FindStringSubmatch(line)
	next = strings.TrimSpace(next)
	if m == nil || !strings.HasPrefix(next, "return") && next != "continue;" && next != "break;" {
		return nil
	}
	return []string{m[1] + "0 && (" + m[2] + "))"}
}

func byOne(line, _ string) (list []string) {
	at := constant.FindStringSubmatchIndex(line)
	if at != nil {
		return []string{oneMore(line, at[2], at[3])}
	}
	if strings.HasPrefix(line, "#") {
		return nil
	}
	for _, at := range number.FindAllStringSubmatchIndex(line, -1) {
		list = append(list, oneMore(line, at[4], at[5]))
	}
	return list
}

func oneMore(line string, from, to int) string {
	n, err := strconv.Atoi(line[from:to])
	if err != nil {
		return line
	}
	return line[:from] + strconv.Itoa(n+1) + line[to:]
}

func swapped(line, _ string) (list []string) {
	for _, at := range field.FindAllStringSubmatchIndex(line, -1) {
		list = append(list, line[:at[4]]+others[line[at[4]:at[5]]]+line[at[5]:])
	}
	return list
}

func skipped(line, _ string) (list []string) {
	for _, s := range summing {
		for _, at := range s.call.FindAllStringIndex(line, -1) {
			list = append(list, line[:at[0]]+s.not+line[at[0]:])
		}
	}
	for _, flag := range []string{" | BPF_F_PSEUDO_HDR", "BPF_F_MARK_MANGLED_0 : "} {
		if strings.Contains(line, flag) {
			list = append(list, strings.Replace(line, flag, map[string]string{" | BPF_F_PSEUDO_HDR": "", "BPF_F_MARK_MANGLED_0 : ": "0 : "}[flag], 1))
		}
	}
	return list
}

// truncated leaves the last word of an address out of a key.
func truncated(line, _ string) []string {
	m := keyed.FindStringSubmatch(line)
	if m == nil {
		return nil
	}
	return []string{line + " " + strings.TrimPrefix(m[1], "union addr ") + ".w[3] = 0;"}
}

// sized is the declaration of an array.
var sized = regexp.MustCompile(`^(struct |union )?\w+ \w+\[[^]]+\];`)

// equal are mistakes that change nothing, and why: no test can notice them.
var equal = map[string]string{
	"return bpf_skb_store_bytes(skb, 0, b->dst_mac, IN_FRAME(hops) + 2, 0);": "the byte behind is the first of the source, as the packet has it",
	"after.id = to->dst_port;":    "an echo has one identifier, which stands in both ports",
	"before.id = from->dst_port;": "an echo has one identifier, which stands in both ports",
}

// placesIn lists all mistakes that can be made in a file.
func placesIn(name, text string) (list []fault) {
	lines := strings.Split(text, "\n")
	comment := false
	for i, line := range lines {
		trimmed := strings.TrimSpace(line)
		if strings.HasPrefix(trimmed, "/*") {
			comment = true
		}
		inside := comment
		if strings.Contains(line, "*/") {
			comment = false
		}
		// Declarations say how large things are: tests look at that by sizes of their own.
		if inside || sized.MatchString(trimmed) || strings.HasPrefix(trimmed, "__uint") || strings.HasSuffix(trimmed, "\\") || strings.HasPrefix(trimmed, "const volatile") {
			continue
		}
		code, behind, _ := strings.Cut(line, " /*")
		if behind != "" {
			behind = " /*" + behind
		}
		next := ""
		if i+1 < len(lines) {
			next = lines[i+1]
		}
		for _, o := range operators {
			for _, made := range o.make(code, next) {
				if made != code && equal[strings.TrimSpace(made)] == "" {
					list = append(list, fault{kind: o.name, file: name, line: i + 1, old: line, new: made + behind})
				}
			}
		}
	}
	return list
}
