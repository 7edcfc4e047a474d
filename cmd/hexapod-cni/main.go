// Go's runtime starts a goroutine, and with it a thread, that follows the CPU limit of the cgroup. This program lives for a millisecond on
// one thread.
//
//go:debug updatemaxprocs=0

// Command hexapod-cni is the CNI plugin of Hexapod: it carries a runtime's request to the agent of this host and the answer back.
//
// A runtime starts it for every endpoint, so it is made to start fast: it uses plain system calls instead of os, net and
// encoding/json, starts no goroutine, and serves what is plain before there is a runtime (short.go). docs/cni.md describes its
// configuration and what it does while no agent runs.
package main

import (
	"syscall"

	"hexapod.dev/edge/cni/wire"
)

func main() {
	command := getenv("CNI_COMMAND")
	if command == "" { // a person at a terminal, who would wait for ever
		answer := failure("", wire.CodeInvalidEnvironment, "CNI_COMMAND is not set: this is a CNI plugin, which a container runtime executes; see docs/cni.md")
		_ = writeAll(1, append(answer.Stdout, '\n')) // the exit code says the same
		syscall.Exit(answer.Exit)
	}
	config, err := short.rest()
	r := wire.Request{
		Command:     command,
		ContainerID: getenv("CNI_CONTAINERID"),
		NetNS:       getenv("CNI_NETNS"),
		IfName:      getenv("CNI_IFNAME"),
		Args:        getenv("CNI_ARGS"),
		Path:        getenv("CNI_PATH"),
		Config:      config,
	}
	answer := run(r, err)
	if len(answer.Stdout) > 0 {
		if err := writeAll(1, append(answer.Stdout, '\n')); err != nil {
			answer.Exit = 1
		}
	}
	syscall.Exit(answer.Exit)
}

func getenv(name string) string {
	value, _ := syscall.Getenv(name)
	return value
}

// run serves one request. readErr is what went wrong with standard input.
func run(r wire.Request, readErr error) wire.Answer {
	if readErr != nil {
		return failure("", wire.CodeIO, "read the network configuration from standard input: "+readErr.Error())
	}
	s, err := parseSettings(r.Config)
	if err != nil {
		return failure(s.version, err.code, "network configuration: "+err.details)
	}
	switch r.Command {
	case wire.Version:
		return wire.Answer{Stdout: wire.AppendVersions(nil, s.version)}
	case wire.Add, wire.Check, wire.GC:
		return carry(r, s)
	case wire.Del:
		return carryDel(r, s)
	case wire.Status:
		return carryStatus(r, s)
	}
	return failure(s.version, wire.CodeInvalidEnvironment, "CNI_COMMAND is "+string(wire.AppendString(nil, r.Command))+
		", not one of ADD, DEL, CHECK, GC, STATUS, VERSION")
}

func failure(version string, code wire.Code, details string) wire.Answer {
	return wire.Answer{Exit: 1, Stdout: wire.AppendError(nil, version, code, details)}
}
