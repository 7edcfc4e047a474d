package cni

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"
	"unicode/utf8"

	"hexapod.dev/edge/cni/wire"
	"hexapod.dev/model/desired"
)

// config is the network configuration of one request: the keys that mean something to Hexapod. All others belong to the runtime or to
// other plugins and are passed over.
type config struct {
	version string
	name    string
	labels  map[string]string
	fixed   []netip.Addr // nil when neither args.cni.ips nor runtimeConfig.ips is there
	dns     json.RawMessage
	prev    *result               // prevResult, nil without one
	valid   []desired.EndpointKey // cni.dev/valid-attachments
	isValid bool                  // the list of valid attachments is there
}

// Keys of GC. The specification first named the second one; libcni sends both.
const (
	keyValid    = "cni.dev/valid-attachments"
	keyValidOld = "cni.dev/attachments"
)

// parseConfig reads and checks the network configuration of a command. It returns the version also beside an error, for the answer.
// A DEL reads no more than the name: what is wrong with the rest has kept the ADD from success, and must not keep the runtime from
// getting rid of the container.
func parseConfig(text []byte, command string) (config, error) {
	var c config
	members, err := decodeObject(text)
	if err != nil {
		return c, Errorf(wire.CodeDecode, "network configuration: %w", err)
	}
	if err := checkKeys(members); err != nil {
		return c, err
	}
	if err := decodeMember(members, "cniVersion", &c.version); err != nil {
		return c, Errorf(wire.CodeDecode, "%w", err)
	}
	if !wire.Supported(c.version) {
		return c, Errorf(wire.CodeIncompatibleVersion, "network configuration: cniVersion is %q, served are %s, %s and %s",
			c.version, wire.Version040, wire.Version100, wire.Version110)
	}
	if err := c.readName(members); err != nil || command == wire.Del {
		return c, err
	}
	for _, read := range []func(map[string]json.RawMessage) error{c.readOurs, c.readArgs, c.readRuntime, c.readPrev, c.readValid} {
		if err := read(members); err != nil {
			return c, err
		}
	}
	return c, nil
}

// decodeObject splits a JSON object into its members. Bytes that are not UTF-8 are refused: encoding/json would replace them, and a name
// that changed on the way is another name.
func decodeObject(text []byte) (map[string]json.RawMessage, error) {
	if !utf8.Valid(text) {
		return nil, fmt.Errorf("it is not valid UTF-8")
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(text, &members); err != nil {
		return nil, err
	}
	if members == nil {
		return nil, fmt.Errorf("it is null, not an object")
	}
	return members, nil
}

// decodeMember decodes one member if it is there and not null.
func decodeMember(members map[string]json.RawMessage, key string, into any) error {
	raw, ok := members[key]
	if !ok {
		return nil
	}
	if err := json.Unmarshal(raw, into); err != nil {
		return Errorf(wire.CodeInvalidConfig, "network configuration: %s: %w", key, err)
	}
	return nil
}

// ourKeys are those of Hexapod alone; one that is spelled with other capitals is a mistake, not somebody else's key.
var ourKeys = []string{"runDir", "stateDir", "agentWaitMillis", "restartMillis"}

func checkKeys(members map[string]json.RawMessage) error {
	for key := range members {
		for _, ours := range ourKeys {
			if key != ours && strings.EqualFold(key, ours) {
				return Errorf(wire.CodeInvalidConfig, "network configuration: key %q is spelled %q", key, ours)
			}
		}
	}
	return nil
}

func (c *config) readName(members map[string]json.RawMessage) error {
	if err := decodeMember(members, "name", &c.name); err != nil {
		return err
	}
	if err := wire.CheckNetwork(c.name); err != nil {
		return Errorf(wire.CodeInvalidConfig, "network configuration: %w", err)
	}
	return nil
}

// readOurs checks the types of the plugin's own keys, and that nothing is asked for that Hexapod does not do.
func (c *config) readOurs(members map[string]json.RawMessage) error {
	var ours struct {
		runDir, stateDir string
		wait, restart    uint32
		masquerade       bool
		ipam             map[string]json.RawMessage
		capabilities     map[string]bool
	}
	for _, m := range []struct {
		key  string
		into any
	}{
		{"runDir", &ours.runDir}, {"stateDir", &ours.stateDir}, {"agentWaitMillis", &ours.wait}, {"restartMillis", &ours.restart},
		{"ipMasq", &ours.masquerade}, {"ipam", &ours.ipam}, {"capabilities", &ours.capabilities}, {"dns", &c.dns},
	} {
		if err := decodeMember(members, m.key, m.into); err != nil {
			return err
		}
	}
	switch {
	case len(ours.ipam) > 0:
		return Errorf(wire.CodeUnsupportedField, "network configuration: ipam is %s: Hexapod gives the addresses itself, remove the key", members["ipam"])
	case ours.masquerade:
		return Errorf(wire.CodeUnsupportedField, "network configuration: ipMasq is true: endpoints are routed with their own address, remove the key")
	}
	if string(c.dns) == "null" {
		c.dns = nil
	}
	if c.dns != nil {
		if _, err := decodeObject(c.dns); err != nil {
			return Errorf(wire.CodeInvalidConfig, "network configuration: dns: %w", err)
		}
	}
	return nil
}

func (c *config) readArgs(members map[string]json.RawMessage) error {
	var args struct {
		CNI struct {
			Labels labels   `json:"labels"`
			IPs    []string `json:"ips"`
		} `json:"cni"`
	}
	if err := decodeMember(members, "args", &args); err != nil {
		return err
	}
	c.labels = args.CNI.Labels
	return c.readFixed("args.cni.ips", args.CNI.IPs)
}

func (c *config) readRuntime(members map[string]json.RawMessage) error {
	var runtime struct {
		IPs []string `json:"ips"`
	}
	if err := decodeMember(members, "runtimeConfig", &runtime); err != nil {
		return err
	}
	if len(c.fixed) > 0 {
		return nil // args.cni.ips is the more specific wish
	}
	return c.readFixed("runtimeConfig.ips", runtime.IPs)
}

func (c *config) readFixed(key string, texts []string) error {
	fixed, err := parseFixed(texts)
	if err != nil {
		return Errorf(wire.CodeInvalidConfig, "network configuration: %s: %w", key, err)
	}
	c.fixed = fixed
	return nil
}

func (c *config) readPrev(members map[string]json.RawMessage) error {
	raw, ok := members["prevResult"]
	if !ok || string(raw) == "null" {
		return nil
	}
	prev, err := parseResult(raw, c.version)
	if err != nil {
		return Errorf(wire.CodeInvalidConfig, "network configuration: prevResult: %w", err)
	}
	c.prev = prev
	return nil
}

func (c *config) readValid(members map[string]json.RawMessage) error {
	key := keyValid
	if _, c.isValid = members[key]; !c.isValid {
		key = keyValidOld
		if _, c.isValid = members[key]; !c.isValid {
			return nil
		}
	}
	var list []struct {
		ContainerID string `json:"containerID"`
		IfName      string `json:"ifname"`
	}
	if err := decodeMember(members, key, &list); err != nil {
		return err
	}
	for i, a := range list {
		k := desired.EndpointKey{Container: a.ContainerID, Interface: a.IfName}
		if err := checkKey(k); err != nil {
			// A list with a hole would remove somebody living.
			return Errorf(wire.CodeInvalidConfig, "network configuration: %s, entry %d: %w", key, i+1, err)
		}
		c.valid = append(c.valid, k)
	}
	return nil
}

func checkKey(k desired.EndpointKey) error {
	if err := wire.CheckContainerID(k.Container); err != nil {
		return err
	}
	return wire.CheckIfName(k.Interface)
}

// labels is args.cni.labels: a list of {"key","value"} as CONVENTIONS.md of CNI has it, or an object.
type labels map[string]string

func (l *labels) UnmarshalJSON(text []byte) error {
	var object map[string]string
	if json.Unmarshal(text, &object) == nil {
		*l = object
		return nil
	}
	var list []struct {
		Key   string `json:"key"`
		Value string `json:"value"`
	}
	if err := json.Unmarshal(text, &list); err != nil {
		return fmt.Errorf("labels: neither an object of strings nor a list of key and value: %w", err)
	}
	*l = make(labels, len(list))
	for _, pair := range list {
		if old, twice := (*l)[pair.Key]; twice && old != pair.Value {
			return fmt.Errorf("labels: %q is both %q and %q", pair.Key, old, pair.Value)
		}
		(*l)[pair.Key] = pair.Value
	}
	return nil
}
