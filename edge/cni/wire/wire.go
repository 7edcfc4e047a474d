// Package wire holds what the CNI plugin and the agent of a host agree on: the request line, the answer line, and the files they share.
//
// The plugin is started for every endpoint, so the package costs no start-up time: no fmt, no encoding/json, no net, no goroutines.
package wire

import "strconv"

// Files below the run folder and the state folder.
const (
	SocketName   = "cni.sock"   // run folder: the agent's socket
	AliveName    = "alive"      // run folder: when the agent was last able to serve, see Beat
	TombstoneDir = "tombstones" // state folder: deletes that came while no agent ran, see Tombstone
	JournalDir   = "journal"    // state folder: the record of all allocations
)

// Defaults of the network configuration's keys.
const (
	DefaultRunDir   = "/run/hexapod"
	DefaultStateDir = "/var/lib/hexapod"

	DefaultWaitMillis    = 10_000  // agentWaitMillis: how long the plugin looks for an agent and its answer
	MaxWaitMillis        = 60_000  // runtimes give a plugin up after minutes
	DefaultRestartMillis = 120_000 // restartMillis: how long STATUS stays good without an agent
	MaxRestartMillis     = 3_600_000
)

// Limits in bytes.
const (
	MaxConfig = 1 << 20            // network configuration on stdin, prevResult included
	MaxLine   = MaxConfig + 64<<10 // request line; room for the CNI_* variables
	MaxAnswer = MaxConfig + 64<<10 // answer line; room for the interfaces Hexapod adds to a prevResult
)

// Commands of the CNI specification, section 2.
const (
	Add     = "ADD"
	Del     = "DEL"
	Check   = "CHECK"
	GC      = "GC"
	Status  = "STATUS"
	Version = "VERSION"
)

// Versions of the CNI specification that are served, oldest first. 0.3.x lacks CHECK, and prevResult at DEL.
const (
	Version040 = "0.4.0"
	Version100 = "1.0.0"
	Version110 = "1.1.0"
)

// Request is one execution of the plugin.
type Request struct {
	Command     string // CNI_COMMAND
	ContainerID string // CNI_CONTAINERID
	NetNS       string // CNI_NETNS
	IfName      string // CNI_IFNAME
	Args        string // CNI_ARGS
	Path        string // CNI_PATH
	Config      []byte // standard input, a JSON object
}

// Append writes r as one line of JSON, line feed included. Config must be valid JSON: outside its strings a line feed means what a
// space means, and inside it none can stand (RFC 8259 section 7).
func (r Request) Append(line []byte) []byte {
	for i, member := range [...]struct{ key, value string }{
		{`"command":`, r.Command}, {`"containerID":`, r.ContainerID}, {`"netns":`, r.NetNS},
		{`"ifname":`, r.IfName}, {`"args":`, r.Args}, {`"path":`, r.Path},
	} {
		line = append(line, "{,"[min(i, 1)])
		line = append(line, member.key...)
		line = AppendString(line, member.value)
	}
	line = append(line, `,"config":`...)
	for _, b := range r.Config {
		if b == '\n' || b == '\r' {
			b = ' '
		}
		line = append(line, b)
	}
	return append(line, "}\n"...)
}

// Answer is what the plugin says and how it exits.
type Answer struct {
	Exit   int    // 0 or 1
	Stdout []byte // JSON; empty when the command prints nothing
}

// Append writes a as one line of JSON, line feed included. Stdout must be compact JSON.
func (a Answer) Append(line []byte) []byte {
	line = append(line, `{"exit":`...)
	line = strconv.AppendInt(line, int64(a.Exit), 10)
	line = append(line, `,"stdout":`...)
	if len(a.Stdout) == 0 {
		line = append(line, "null"...)
	}
	line = append(line, a.Stdout...)
	return append(line, "}\n"...)
}

// ParseAnswer reads an answer line. Anything but a whole, well-formed line is an error: half an answer is none.
func ParseAnswer(line []byte) (Answer, error) {
	if len(line) == 0 || line[len(line)-1] != '\n' {
		return Answer{}, errTruncated
	}
	answer := Answer{Exit: -1}
	var bad error
	err := Members(line, func(key, value []byte) {
		switch string(key) {
		case "exit":
			switch string(value) {
			case "0":
				answer.Exit = 0
			case "1":
				answer.Exit = 1
			default:
				bad = errExit
			}
		case "stdout":
			if string(value) != "null" {
				answer.Stdout = value
			}
		}
	})
	switch {
	case err != nil:
		return Answer{}, err
	case bad != nil || answer.Exit < 0:
		return Answer{}, errExit
	case answer.Exit == 1 && len(answer.Stdout) == 0:
		return Answer{}, errNoWords
	}
	return answer, nil
}
