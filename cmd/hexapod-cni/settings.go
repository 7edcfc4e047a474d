package main

import (
	"strconv"

	"hexapod.dev/edge/cni/wire"
)

// settings are the few keys of the network configuration that the plugin itself needs.
type settings struct {
	version       string // cniVersion
	socket        string // path of the agent's socket
	alive         string // path of the agent's heartbeat
	stateDir      string
	waitMillis    int64
	restartMillis int64
}

// maxSocketPath is the room in sockaddr_un less the final zero, unix(7).
const maxSocketPath = 107

type settingsError struct {
	code    wire.Code
	details string
}

func parseSettings(config []byte) (settings, *settingsError) {
	s := settings{stateDir: wire.DefaultStateDir, waitMillis: wire.DefaultWaitMillis, restartMillis: wire.DefaultRestartMillis}
	runDir := wire.DefaultRunDir
	bad := "" // the last member that is wrong
	err := wire.Members(config, func(key, value []byte) {
		ok := true
		switch string(key) {
		case "cniVersion":
			s.version, ok = wire.Unquote(value)
		case "runDir":
			runDir, ok = folder(value)
		case "stateDir":
			s.stateDir, ok = folder(value)
		case "agentWaitMillis":
			s.waitMillis, ok = millis(value, wire.MaxWaitMillis)
			ok = ok && s.waitMillis > 0
		case "restartMillis":
			s.restartMillis, ok = millis(value, wire.MaxRestartMillis)
		}
		if !ok {
			bad = string(key)
		}
	})
	s.socket = runDir + "/" + wire.SocketName
	s.alive = runDir + "/" + wire.AliveName
	switch {
	case err != nil:
		return s, &settingsError{wire.CodeDecode, err.Error()}
	case bad == "cniVersion":
		return s, &settingsError{wire.CodeDecode, "cniVersion: not a string"}
	case bad == "runDir" || bad == "stateDir":
		return s, &settingsError{wire.CodeInvalidConfig, bad + ": not an absolute path"}
	case bad == "agentWaitMillis":
		return s, &settingsError{wire.CodeInvalidConfig, bad + ": not a whole number from 1 to " + strconv.Itoa(wire.MaxWaitMillis)}
	case bad == "restartMillis":
		return s, &settingsError{wire.CodeInvalidConfig, bad + ": not a whole number from 0 to " + strconv.Itoa(wire.MaxRestartMillis)}
	case len(s.socket) > maxSocketPath:
		return s, &settingsError{wire.CodeInvalidConfig, "runDir: too long, a socket path holds 107 bytes"}
	}
	return s, nil
}

// folder is an absolute path, without zero bytes, which end a path in the kernel.
func folder(value []byte) (string, bool) {
	path, ok := wire.Unquote(value)
	if !ok || path == "" || path[0] != '/' {
		return "", false
	}
	for i := range len(path) {
		if path[i] == 0 {
			return "", false
		}
	}
	return path, true
}

func millis(value []byte, most int64) (int64, bool) {
	n, err := strconv.ParseInt(string(value), 10, 64)
	return n, err == nil && n >= 0 && n <= most
}
