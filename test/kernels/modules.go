package main

import (
	"bytes"
	"debug/elf"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
)

// wanted are the modules that endpoints, programs and the guard need, as far as a kernel has them as modules.
var wanted = []string{
	"veth", "dummy", "tun", "bridge", "ipv6", "sch_ingress", "cls_bpf", "act_bpf", "nf_tables", "nft_ct", "nft_reject_inet", "nft_fib_inet",
	"nft_chain_nat", "nft_masq", "nft_redir", "sctp", "nft_limit", "nft_log", "inet_diag", "tcp_diag", "udp_diag",
}

// module is one file of a kernel and what has to be there before it.
type module struct {
	path  string
	needs []string
}

// order lists the files of the wanted modules and of all that they need, each behind what it needs.
func order(dir string) ([]string, error) {
	have := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if name, ok := strings.CutSuffix(filepath.Base(path), ".ko"); ok && err == nil {
			have[strings.ReplaceAll(name, "-", "_")] = path
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	if len(have) == 0 {
		return nil, fmt.Errorf("no modules in %s (compressed ones are not read)", dir)
	}
	var list []string
	seen := map[string]bool{}
	var add func(name string) error
	add = func(name string) error {
		path, there := have[name]
		if seen[name] || !there { // built in, or of another kernel
			return nil
		}
		seen[name] = true
		m, err := readModule(path)
		if err != nil {
			return err
		}
		for _, n := range m.needs {
			if err := add(n); err != nil {
				return err
			}
		}
		list = append(list, m.path)
		return nil
	}
	for _, name := range wanted {
		if err := add(name); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// readModule reads what a module says of itself: strings key=value in section .modinfo.
func readModule(path string) (module, error) {
	m := module{path: path}
	f, err := elf.Open(path)
	if err != nil {
		return m, fmt.Errorf("module %s: %w", path, err)
	}
	defer f.Close()
	section := f.Section(".modinfo")
	if section == nil {
		return m, fmt.Errorf("module %s says nothing of itself", path)
	}
	info, err := section.Data()
	if err != nil {
		return m, fmt.Errorf("module %s: %w", path, err)
	}
	for entry := range bytes.SplitSeq(info, []byte{0}) {
		if list, ok := strings.CutPrefix(string(entry), "depends="); ok && list != "" {
			for name := range strings.SplitSeq(list, ",") {
				m.needs = append(m.needs, strings.ReplaceAll(name, "-", "_"))
			}
		}
	}
	return m, nil
}
