package cni

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"unicode"

	"hexapod.dev/edge/cni/wire"
)

// podArgs is what CNI_ARGS says.
type podArgs struct {
	namespace, name, uid string
	fixed                []netip.Addr
}

// maxArg bounds a value of CNI_ARGS in bytes: names of Kubernetes objects end at 253.
const maxArg = 253

// parseArgs reads CNI_ARGS: "KEY=VALUE" joined by semicolons. Keys that are not known are an error unless IgnoreUnknown is set; every
// Kubernetes runtime sets it.
func parseArgs(text string) (podArgs, error) {
	var a podArgs
	ignore, unknown := false, ""
	for pair := range strings.SplitSeq(text, ";") {
		if pair == "" {
			continue
		}
		key, value, ok := strings.Cut(pair, "=")
		if !ok {
			return podArgs{}, Errorf(wire.CodeInvalidEnvironment, "CNI_ARGS: %q is not KEY=VALUE", pair)
		}
		var err error
		switch key {
		case "IgnoreUnknown":
			ignore, err = parseBool(value)
		case "K8S_POD_NAMESPACE":
			a.namespace, err = parseName(value)
		case "K8S_POD_NAME":
			a.name, err = parseName(value)
		case "K8S_POD_UID":
			a.uid, err = parseName(value)
		case "K8S_POD_INFRA_CONTAINER_ID": // the same as CNI_CONTAINERID
			_, err = parseName(value)
		case "IP":
			a.fixed, err = parseFixed(strings.FieldsFunc(value, func(r rune) bool { return r == ',' }))
		default:
			unknown = key
		}
		if err != nil {
			return podArgs{}, Errorf(wire.CodeInvalidEnvironment, "CNI_ARGS: %s: %w", key, err)
		}
	}
	if unknown != "" && !ignore {
		return podArgs{}, Errorf(wire.CodeInvalidEnvironment, "CNI_ARGS: %q is not known; add IgnoreUnknown=1 to pass over it", unknown)
	}
	return a, nil
}

func parseBool(text string) (bool, error) {
	switch strings.ToLower(text) {
	case "1", "true":
		return true, nil
	case "0", "false":
		return false, nil
	}
	return false, fmt.Errorf("%q is not 1, true, 0 or false", text)
}

func parseName(text string) (string, error) {
	switch {
	case len(text) > maxArg:
		return "", fmt.Errorf("longer than %d bytes", maxArg)
	case strings.ContainsFunc(text, func(r rune) bool { return unicode.IsControl(r) || r == unicode.ReplacementChar }):
		return "", fmt.Errorf("%q has characters that cannot be printed", text)
	}
	return text, nil
}

// maxFixed bounds the addresses one endpoint may ask for.
const maxFixed = 16

// parseFixed reads addresses that are asked for, "ADDR" or "ADDR/LENGTH". The length is passed over: an endpoint's address is a /128.
func parseFixed(texts []string) ([]netip.Addr, error) {
	if len(texts) > maxFixed {
		return nil, fmt.Errorf("%d addresses, at most %d", len(texts), maxFixed)
	}
	var addrs []netip.Addr
	for _, text := range texts {
		addr, err := netip.ParseAddr(text)
		if strings.Contains(text, "/") {
			var p netip.Prefix
			p, err = netip.ParsePrefix(text)
			addr = p.Addr()
		}
		switch {
		case err != nil:
			return nil, err
		case addr.Is4() || addr.Is4In6():
			return nil, fmt.Errorf("%s is IPv4; endpoints have IPv6 addresses", text)
		case addr.Zone() != "" || !addr.IsGlobalUnicast():
			return nil, fmt.Errorf("%s is not a unicast address of global scope", text)
		case slices.Contains(addrs, addr):
			return nil, fmt.Errorf("%s is there twice", text)
		}
		addrs = append(addrs, addr)
	}
	return addrs, nil
}
