package main

import (
	"fmt"
	"strings"
)

// nameIs32Digits: the name looks like an address.
const nameIs32Digits = `self.metadata.name.matches('^[0-9a-f]{32}$')`

// expanded is the address that the first 32 digits of the name spell. CEL has no way from an address to its digits, but one
// from groups of digits to an address.
var expanded = func() string {
	var groups []string
	for i := 0; i < 32; i += 4 {
		groups = append(groups, fmt.Sprintf("self.metadata.name.substring(%d, %d)", i, i+4))
	}
	return "ip(" + strings.Join(groups, " + ':' + ") + ")"
}()

// octets says that digits 24 to 31 of the name are the octets of the IPv4 prefix. Here the way from the address to its numbers is
// the shorter one.
func octets() string {
	digit := func(i int) string {
		return fmt.Sprintf("'0123456789abcdef'.indexOf(self.metadata.name.substring(%d, %d))", i, i+1)
	}
	var all []string
	for i := range 4 {
		all = append(all, fmt.Sprintf("int(self.spec.prefix.split('/')[0].split('.')[%d]) == %s * 16 + %s", i, digit(24+2*i), digit(25+2*i)))
	}
	return strings.Join(all, " && ")
}
