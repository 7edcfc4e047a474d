package main

import (
	"fmt"
	"reflect"

	"hexapod.dev/api/v1alpha1"
)

const (
	group   = "hexapod.dev"
	version = "v1alpha1"
)

// kind is what the API server must know of a kind besides its fields.
type kind struct {
	name, singular, plural, short string
	structure                     reflect.Type
	nameLength                    int            // of metadata.name at most, where rules read it; 0: what Kubernetes allows
	longest                       map[string]int // entries of lists of the spec at most, where rules read them
	wholeStatus                   bool           // there is no spec, so the status is no subresource
	rules                         []rule
	columns                       []column
}

// rule is a check in CEL, made by the API server before an object is stored.
type rule struct {
	Rule    string `yaml:"rule"`
	Message string `yaml:"message"`
}

// column is what kubectl get prints. Wide ones stand there with -o wide.
type column struct {
	Name        string `yaml:"name"`
	Type        string `yaml:"type"`
	Path        string `yaml:"jsonPath"`
	Description string `yaml:"description,omitempty"`
	Priority    int    `yaml:"priority,omitempty"`
}

func text(name, path string) column { return column{Name: name, Type: "string", Path: path} }
func wide(name, path string) column {
	return column{Name: name, Type: "string", Path: path, Priority: 1}
}
func count(name, path string) column { return column{Name: name, Type: "integer", Path: path} }
func accepted() column {
	return text("Accepted", `.status.conditions[?(@.type=="Accepted")].status`)
}
func age() column { return column{Name: "Age", Type: "date", Path: ".metadata.creationTimestamp"} }

func kinds() []kind {
	return []kind{
		{
			name: v1alpha1.KindAddressPlan, singular: "addressplan", plural: "addressplans", short: "plan", structure: reflect.TypeFor[v1alpha1.AddressPlan](),
			rules: []rule{
				fixed("prefix", "the fabric's prefix is chosen when the plan is made: every address lies in it"),
				fixed("hostPart", "readable or sealed is chosen when the plan is made"),
			},
			columns: []column{text("Prefix", ".spec.prefix"), text("Mode", ".status.hostPrefixes"), count("Hosts", ".status.hosts"),
				count("Silent", ".status.silent"), count("Resting", ".status.resting"), accepted(), age()},
		}, {
			name: v1alpha1.KindHost, singular: "host", plural: "hosts", structure: reflect.TypeFor[v1alpha1.Host](),
			rules: []rule{{"!has(oldSelf.spec.prefix) || has(self.spec.prefix) && self.spec.prefix == oldSelf.spec.prefix", "a host keeps its prefix: its endpoints have their addresses for life"}},
			columns: []column{text("Rack", ".spec.rack"), text("Prefix", ".spec.prefix"), text("IPv4", ".spec.ipv4Prefix"),
				text("Addresses", ".spec.addresses"), wide("MAC", ".spec.mac"), accepted(), age()},
		}, {
			name: v1alpha1.KindPool, singular: "pool", plural: "pools", structure: reflect.TypeFor[v1alpha1.Pool](),
			rules: []rule{fixed("prefix", "a pool keeps its prefix: make another pool")},
			columns: []column{text("Prefix", ".spec.prefix"), text("Namespaces", ".spec.namespaces"), count("Claimed", ".status.claimed"),
				accepted(), age()},
		}, {
			name: v1alpha1.KindIdentity, singular: "identity", plural: "identities", short: "ident", structure: reflect.TypeFor[v1alpha1.Identity](), nameLength: len("id-131070"),
			rules: []rule{
				{"self.metadata.name.matches('^id-[1-9][0-9]{0,5}$') && int(self.metadata.name.substring(3)) == self.spec.number", "metadata.name must be id- and spec.number in decimal: two owners of one number cannot be"},
				{"self.spec.number >= 256", "numbers below 256 (0x100) are reserved"},
				{"self.spec.number <= 131070", "131070 is the last number"},
				fixed("namespace", "a number stands for one set of labels for ever"),
				fixed("labels", "a number stands for one set of labels for ever"),
				fixed("keyVersion", "a number stands for one set of labels for ever"),
			},
			columns: []column{count("Number", ".spec.number"), text("Namespace", ".spec.namespace"), text("Labels", ".spec.labels"),
				text("Retired", ".spec.retired"), age()},
		}, {
			name: v1alpha1.KindAddress, singular: "address", plural: "addresses", short: "addr", structure: reflect.TypeFor[v1alpha1.Address](), nameLength: 32,
			rules: []rule{
				{nameIs32Digits + " && " + expanded + " == ip(self.spec.address)",
					"metadata.name must be the 32 lower-case hexadecimal digits of spec.address: two owners of one address cannot be"},
				fixed("pool", "an address that was given out is not changed: remove it and make another"),
				fixed("namespace", "an address that was given out is not changed: remove it and make another"),
				fixed("name", "an address that was given out is not changed: remove it and make another"),
			},
			columns: []column{text("Address", ".spec.address"), text("Pool", ".spec.pool"), text("Namespace", ".spec.namespace"),
				text("Endpoint", ".spec.name"), text("Host", ".status.host"), accepted(), age()},
		}, {
			name: v1alpha1.KindAddressSlice, singular: "addressslice", plural: "addressslices", short: "aslice", structure: reflect.TypeFor[v1alpha1.AddressSlice](),
			columns: []column{text("Host", ".spec.host"), count("Revision", ".spec.revision"), age()},
		}, {
			name: v1alpha1.KindBGPPeer, singular: "bgppeer", plural: "bgppeers", structure: reflect.TypeFor[v1alpha1.BGPPeer](),
			columns: []column{text("Interface", ".spec.interface"), text("Address", ".spec.address"), count("ASN", ".spec.asn"), accepted(), age()},
		}, {
			name: v1alpha1.KindTranslation, singular: "translation", plural: "translations", short: "nat64", structure: reflect.TypeFor[v1alpha1.Translation](),
			longest: map[string]int{"prefixes": v1alpha1.MaxTranslationList, "pool": v1alpha1.MaxTranslationList, "clients": v1alpha1.MaxTranslationList, "private": v1alpha1.MaxTranslationList},
			rules: []rule{
				{"!has(self.spec.prefixes) || self.spec.prefixes.all(p, cidr(p).ip().family() == 6 && cidr(p).prefixLength() in [32, 40, 48, 56, 64, 96])",
					"spec.prefixes must be IPv6 prefixes of length 32, 40, 48, 56, 64 or 96 (RFC 6052 2.2)"},
				{"!has(self.spec.hostPorts) || !has(self.spec.pool) || self.spec.pool.size() == 0", "spec.hostPorts is for hosts without a pool"},
				{"!has(self.spec.hostPorts) || self.spec.hostPorts.first >= 1024 && self.spec.hostPorts.first % 1024 == 0 && " +
					"self.spec.hostPorts.last > self.spec.hostPorts.first && (self.spec.hostPorts.last + 1) % 1024 == 0",
					"spec.hostPorts must be whole blocks of 1024 ports: first a multiple of 1024, last one less than one"},
				families("pool", 4), families("private", 4), families("clients", 6),
				{"!has(self.spec.upstream) || !has(self.spec.pool) && !has(self.spec.hostPorts) && !has(self.spec.clients) && !(has(self.spec.announce) && self.spec.announce) && !has(self.spec.blocks) && !has(self.spec.bindings)",
					"spec.upstream is a NAT64 of others: what is said of one of your own has no place beside it"},
				{"!has(self.spec.private) || has(self.spec.upstream) && !has(self.spec.prefixes) || has(self.spec.prefixes) && self.spec.prefixes.exists(p, p != '64:ff9b::/96')",
					"spec.private cannot be reached through the well-known prefix (RFC 6052 3.1): name one of your own in spec.prefixes"},
			},
			columns: []column{text("Prefixes", ".spec.prefixes"), text("Pool", ".spec.pool"), wide("Hosts", ".spec.hosts"), wide("Labels", ".spec.hostLabels"), accepted(), age()},
		}, {
			name: v1alpha1.KindHostPrefix, singular: "hostprefix", plural: "hostprefixes", short: "hp", structure: reflect.TypeFor[v1alpha1.HostPrefix](), nameLength: len("-128") + 32,
			rules: []rule{
				{"self.metadata.name.matches('^[0-9a-f]{32}-[0-9]{1,3}$') && (cidr(self.spec.prefix).ip().family() == 6 ? " +
					expanded + " == cidr(self.spec.prefix).ip() && int(self.metadata.name.substring(33)) == cidr(self.spec.prefix).prefixLength() : " +
					"self.metadata.name.startsWith('00000000000000000000ffff') && " + octets() + " && " +
					"int(self.metadata.name.substring(33)) == cidr(self.spec.prefix).prefixLength() + 96)",
					"metadata.name must be the 32 lower-case hexadecimal digits of spec.prefix, - and its length (an IPv4 prefix in ::ffff:0:0/96): two owners of one prefix cannot be"},
				{"cidr(self.spec.prefix) == cidr(self.spec.prefix).masked()", "spec.prefix must have no host bits"},
				{"self.spec.host == oldSelf.spec.host", "a prefix keeps its host; when it has rested it is removed and made anew for another"},
			},
			columns: []column{text("Prefix", ".spec.prefix"), text("Host", ".spec.host"), text("Rack", ".spec.rack"), text("Retired", ".spec.retired"), age()},
		}, {
			name: v1alpha1.KindHostStatus, singular: "hoststatus", plural: "hoststatuses", short: "hs", structure: reflect.TypeFor[v1alpha1.HostStatus](), wholeStatus: true,
			columns: []column{text("Ready", `.status.conditions[?(@.type=="Ready")].status`), count("Endpoints", ".status.endpoints"),
				text("Prefixes", ".status.prefixes"), text("Version", ".status.version"), wide("Reason", `.status.conditions[?(@.type=="Ready")].message`), age()},
		},
	}
}

// families says that the prefixes in a list of the spec are all of one family.
func families(list string, family int) rule {
	return rule{fmt.Sprintf("!has(self.spec.%[1]s) || self.spec.%[1]s.all(p, cidr(p).ip().family() == %[2]d)", list, family),
		fmt.Sprintf("spec.%s must be prefixes of IPv%d", list, family)}
}

// fixed says that a field of the spec does not change.
func fixed(field, message string) rule {
	if field == "namespace" {
		field = "__namespace__" // a word of CEL itself
	}
	now, was := "self.spec."+field, "oldSelf.spec."+field
	return rule{"has(" + now + ") == has(" + was + ") && (!has(" + now + ") || " + now + " == " + was + ")", message}
}
