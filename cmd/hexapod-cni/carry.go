package main

import (
	"syscall"

	"hexapod.dev/edge/cni/wire"
)

// outcome is how an attempt to reach the agent ended.
type outcome int

const (
	answered outcome = iota
	absent           // nobody listens on the socket
	broken           // the agent was there and went away before it answered
	late             // no answer in time
	refused          // the socket cannot be used at all
)

const (
	firstPauseMillis = 5
	lastPauseMillis  = 250
)

// ask brings the request to the agent until it answers or the time of the settings is over. giveUp tells after which outcomes a new
// attempt is pointless. The request may be carried out twice: every command means the same when it is repeated.
func ask(r wire.Request, s settings, giveUp func(outcome) bool) (wire.Answer, outcome, string) {
	line := r.Append(make([]byte, 0, len(r.Config)+512+len(r.Args)+len(r.Path)))
	end := wire.UptimeMillis() + s.waitMillis - short.waited
	for pause := int64(firstPauseMillis); ; pause = min(2*pause, lastPauseMillis) {
		answer, how, words := attempt(s.socket, line, end)
		left := end - wire.UptimeMillis()
		if how == answered || how == refused || how == late || giveUp(how) || left <= 0 {
			return answer, how, words
		}
		sleep(min(pause, left))
	}
}

// attempt makes one connection, sends the line and reads the answer.
func attempt(socket string, line []byte, end int64) (wire.Answer, outcome, string) {
	conn, err := dial(socket, end)
	switch err {
	case nil:
		defer conn.close()
	case syscall.ENOENT, syscall.ECONNREFUSED:
		return wire.Answer{}, absent, "no agent listens on " + socket
	case syscall.EAGAIN:
		return wire.Answer{}, broken, "the agent on " + socket + " takes no more connections"
	default:
		return wire.Answer{}, refused, "connect to " + socket + ": " + err.Error()
	}
	// An agent that refuses the caller answers and closes before it has read the line, so a failed write may still have an answer.
	writeErr := conn.write(line)
	text, err := conn.readLine(wire.MaxAnswer)
	switch {
	case err == syscall.ETIMEDOUT:
		return wire.Answer{}, late, "the agent on " + socket + " did not answer in time"
	case len(text) == 0 && (err != nil || writeErr != nil):
		return wire.Answer{}, broken, "the agent on " + socket + " went away before it answered"
	case len(text) == 0:
		return wire.Answer{}, broken, "the agent on " + socket + " closed the connection without an answer"
	}
	answer, err := wire.ParseAnswer(text)
	if err != nil {
		return wire.Answer{}, broken, "the answer of the agent on " + socket + " cannot be used: " + err.Error()
	}
	return answer, answered, ""
}

func never(outcome) bool { return false }

// carry serves ADD, CHECK and GC: without an agent the runtime has to come again.
func carry(r wire.Request, s settings) wire.Answer {
	answer, how, words := ask(r, s, never)
	switch how {
	case answered:
		return answer
	case refused:
		return failure(s.version, wire.CodeIO, words)
	}
	return failure(s.version, wire.CodeTryAgain, words+"; is `hexapod agent` running on this host?")
}

// carryDel serves DEL: without an agent it leaves a tombstone and succeeds, so that a runtime can finish with a container whose host is
// being upgraded.
func carryDel(r wire.Request, s settings) wire.Answer {
	answer, how, words := ask(r, s, func(how outcome) bool { return how == absent })
	if how == answered {
		return answer
	}
	if err := wire.CheckContainerID(r.ContainerID); err != nil {
		return failure(s.version, wire.CodeInvalidEnvironment, err.Error())
	}
	if err := wire.CheckIfName(r.IfName); err != nil {
		return failure(s.version, wire.CodeInvalidEnvironment, err.Error())
	}
	t := wire.Tombstone{Container: r.ContainerID, Interface: r.IfName, NetNS: r.NetNS}
	if path, err := bury(s.stateDir, t); err != nil {
		return failure(s.version, wire.CodeIO, words+"; and the delete cannot be kept for later in "+path+": "+err.Error())
	}
	return wire.Answer{}
}

// carryStatus serves STATUS: an agent that restarts or is upgraded must not take its host out of service, because endpoints go on
// working without it.
func carryStatus(r wire.Request, s settings) wire.Answer {
	if answer, how, words := ask(r, s, func(outcome) bool { return true }); how == answered {
		return answer
	} else if why := restarting(s); why != "" {
		return failure(s.version, wire.CodeNotAvailable, words+"; "+why)
	}
	return wire.Answer{}
}

// restarting tells why the agent's absence is more than a restart; empty if it is not.
func restarting(s settings) string {
	text, err := readFile(s.alive)
	if err != nil {
		return "it left no sign of life in " + s.alive
	}
	last, ok := wire.ParseBeat(text)
	if !ok || !last.Covers(wire.Now(), s.restartMillis) {
		return "it was last alive too long ago, or before this boot"
	}
	var stat syscall.Stat_t
	journal := s.stateDir + "/" + wire.JournalDir
	if err := syscall.Stat(journal, &stat); err != nil || stat.Mode&syscall.S_IFMT != syscall.S_IFDIR {
		return "its record " + journal + " is gone"
	}
	return ""
}
