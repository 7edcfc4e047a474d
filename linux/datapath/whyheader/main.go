// Command whyheader writes bpf/include/why.h from the reasons of model/datapath, so that both count under the same numbers.
package main

import (
	"bytes"
	"fmt"
	"os"
	"strings"

	"hexapod.dev/model/datapath"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: whyheader FILE")
		os.Exit(2)
	}
	if err := os.WriteFile(os.Args[1], header(), 0o644); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func header() []byte {
	var b bytes.Buffer
	b.WriteString("/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */\n" +
		"/* Written by `make generate` from model/datapath/why.go, which tells what each means; do not edit. */\n" +
		"#pragma once\n\nenum why {\n")
	for _, w := range datapath.AllWhys() {
		fmt.Fprintf(&b, "\tWHY_%s = %d,\n", strings.ToUpper(strings.ReplaceAll(w.String(), "-", "_")), w)
	}
	fmt.Fprintf(&b, "};\n\n#define WHY_DROPS %d /* from here on a packet ends */\n#define WHYS %d\n", datapath.NotIPv6, datapath.Whys)
	return b.Bytes()
}
