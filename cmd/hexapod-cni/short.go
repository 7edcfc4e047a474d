package main

import (
	"syscall"
	"unsafe"

	"hexapod.dev/edge/cni/wire"
)

// The short way. To start and end Go's runtime takes this program three times as long as all it has to do, and a host that starts 40
// endpoints at once pays that 40 times. A program linked with `-E shortEntry` (amd64) therefore begins in entry_amd64.s, on the stack
// the kernel gave it and before there is a runtime: what is plain is brought to the agent and its answer printed by the code in this
// file; for all else it returns, having changed nothing, and the program starts as any other. Without the flag, or on other machines,
// everything goes the long way, which says the same (docs/decisions/0005).
//
// So nothing here may need the runtime: every function is nosplit, and none allocates, defers, appends or may panic.
// TestShortWayNeedsNoRuntime looks at the machine code.

// shortMost bounds in bytes what goes the short way: configuration, request and answer.
const shortMost = 64 << 10

// shortDepth bounds the nesting of a configuration that goes the short way.
const shortDepth = 64

// shortWay is what the short way has done so far; the long way goes on from it.
type shortWay struct {
	input  [shortMost]byte // standard input
	read   int             // bytes of it
	ended  bool            // it is all there is
	waited int64           // milliseconds for an answer that did not come

	request [shortMost]byte
	length  int
	answer  [shortMost]byte
	agent   syscall.RawSockaddrUnix
}

var short shortWay

// shortVariables are the environment in the order of the request line, each with the text before its value there.
var shortVariables = [...]struct{ name, before string }{
	{"CNI_COMMAND=", `{"command":"`}, {"CNI_CONTAINERID=", `","containerID":"`}, {"CNI_NETNS=", `","netns":"`},
	{"CNI_IFNAME=", `","ifname":"`}, {"CNI_ARGS=", `","args":"`}, {"CNI_PATH=", `","path":"`},
}

type shortValues [len(shortVariables)]string

// goShort is called by shortEntry with what the kernel laid on the stack (System V ABI for x86-64, 3.4.1): the number of arguments, the
// arguments, a null, the environment, a null. It returns when the long way has to be taken.
//
//lint:ignore U1000 shortEntry calls it, in assembly
//go:nosplit
func goShort(stack *uintptr) {
	var values shortValues
	shortEnvironment(stack, &values)
	switch values[0] {
	case wire.Add, wire.Del, wire.Check, wire.GC, wire.Status:
	default:
		return
	}
	if w := &short; w.readInput() && w.scan() && w.compose(&values) {
		if n := w.ask(); n > 0 {
			w.leave(n)
		}
	}
}

// shortEnvironment finds the variables. Of two with one name the first counts, as in package syscall.
//
//go:nosplit
func shortEnvironment(stack *uintptr, values *shortValues) {
	const word = unsafe.Sizeof(uintptr(0))
	at := unsafe.Add(unsafe.Pointer(stack), (*stack+2)*word)
	for ; *(*uintptr)(at) != 0; at = unsafe.Add(at, word) {
		text := *(**byte)(at)
		n := 0
		for *(*byte)(unsafe.Add(unsafe.Pointer(text), n)) != 0 {
			n++
		}
		line := unsafe.String(text, n)
		for i := range shortVariables {
			name := shortVariables[i].name
			if len(line) >= len(name) && line[:len(name)] == name && unsafe.StringData(values[i]) == nil {
				values[i] = line[len(name):]
			}
		}
	}
}

// readInput reads standard input to its end.
//
//go:nosplit
func (w *shortWay) readInput() bool {
	for w.read < shortMost {
		n, _, errno := syscall.RawSyscall(syscall.SYS_READ, 0, uintptr(unsafe.Pointer(&w.input))+uintptr(w.read), uintptr(shortMost-w.read))
		if errno != 0 {
			return false
		}
		if n == 0 {
			w.ended = true
			return true
		}
		w.read += int(n)
	}
	return false
}

// rest is all of standard input for the long way.
func (w *shortWay) rest() ([]byte, error) {
	if w.ended {
		return w.input[:w.read], nil
	}
	more, err := readAll(0, wire.MaxConfig-w.read)
	return append(w.input[:w.read:w.read], more...), err
}

// byteAt is a byte of the input, 0 behind its end.
//
//go:nosplit
func (w *shortWay) byteAt(i int) byte {
	if uint(i) >= shortMost || i >= w.read {
		return 0
	}
	return w.input[i]
}

// scan looks through the configuration for the folder of the agent's socket. It is true of one object of plain text that the plugin
// itself has no other question about; whether it is JSON is for the agent to say.
//
//go:nosplit
func (w *shortWay) scan() bool {
	w.putSocket(wire.DefaultRunDir)
	depth, from, to := 0, 0, 0 // the last string of the object itself
	given := false
	for i := 0; i < w.read; i++ {
		switch w.byteAt(i) {
		case '"':
			end := w.quoted(i)
			if end < 0 {
				return false
			}
			if depth == 1 {
				from, to = i+1, end
			}
			i = end
		case ':':
			if depth != 1 {
				continue
			}
			switch w.text(from, to) {
			case "runDir", "stateDir", "cniVersion":
				for i++; w.byteAt(i) == ' '; i++ {
				}
				end := w.quoted(i)
				if end < 0 {
					return false
				}
				value, folder := w.text(i+1, end), w.text(from, to) != "cniVersion"
				if folder && (w.byteAt(i+1) != '/' || len(value) == 0) {
					return false
				}
				if w.text(from, to) == "runDir" {
					if given || !w.putSocket(value) {
						return false
					}
					given = true
				}
				i = end
			case "agentWaitMillis", "restartMillis":
				return false
			}
		case '{', '[':
			if depth == 0 && w.byteAt(i) == '[' || depth == shortDepth {
				return false
			}
			depth++
		case '}', ']':
			if depth--; depth == 0 {
				return w.blank(i + 1)
			}
		case ' ', '\n', '\r', '\t':
		default:
			if depth == 0 || !plain(w.byteAt(i)) {
				return false
			}
		}
	}
	return false
}

// quoted is the place of the quotation mark that ends the string which begins at i, or -1 unless it is all plain.
//
//go:nosplit
func (w *shortWay) quoted(i int) int {
	if w.byteAt(i) != '"' {
		return -1
	}
	for i++; plain(w.byteAt(i)); i++ {
	}
	if w.byteAt(i) != '"' {
		return -1
	}
	return i
}

// plain tells whether a byte means itself inside a JSON string: printable ASCII but for the quotation mark and the backslash.
//
//go:nosplit
func plain(c byte) bool { return c >= ' ' && c < 0x7f && c != '"' && c != '\\' }

// text is the input between two places.
//
//go:nosplit
func (w *shortWay) text(from, to int) string {
	if from < 0 || to < from || to > w.read {
		return ""
	}
	return unsafe.String((*byte)(unsafe.Add(unsafe.Pointer(&w.input), from)), to-from)
}

// blank tells whether nothing but white space follows.
//
//go:nosplit
func (w *shortWay) blank(i int) bool {
	for ; i < w.read; i++ {
		switch w.byteAt(i) {
		case ' ', '\n', '\r', '\t':
		default:
			return false
		}
	}
	return true
}

// putSocket writes the address of the agent's socket in a run folder.
//
//go:nosplit
func (w *shortWay) putSocket(folder string) bool {
	const name = "/" + wire.SocketName
	if len(folder)+len(name) > maxSocketPath {
		return false
	}
	w.agent.Family = syscall.AF_UNIX
	for i := range uint(maxSocketPath + 1) {
		c := byte(0)
		switch at := i - uint(len(folder)); {
		case i < uint(len(folder)):
			c = folder[i]
		case at < uint(len(name)):
			c = name[at]
		}
		w.agent.Path[i] = int8(c)
	}
	return true
}

// compose writes the request line, byte for byte as wire.Request does.
//
//go:nosplit
func (w *shortWay) compose(values *shortValues) bool {
	w.length = 0
	for i := range shortVariables {
		w.put(shortVariables[i].before)
		value := values[i]
		for k := range len(value) {
			if !plain(value[k]) {
				return false
			}
		}
		w.put(value)
	}
	w.put(`","config":`)
	start := w.length
	w.put(w.text(0, w.read))
	for i := uint(start); i < uint(w.length) && i < shortMost; i++ {
		if w.request[i] == '\n' || w.request[i] == '\r' {
			w.request[i] = ' '
		}
	}
	w.put("}\n")
	return w.length < shortMost // full: something may be cut off
}

// put appends to the request what fits.
//
//go:nosplit
func (w *shortWay) put(s string) {
	for i := range len(s) {
		if uint(w.length) >= shortMost {
			return
		}
		w.request[w.length] = s[i]
		w.length++
	}
}

// ask brings the request to the agent and returns the length of its answer, 0 if there is none.
//
//go:nosplit
func (w *shortWay) ask() int {
	fd, _, errno := syscall.RawSyscall(syscall.SYS_SOCKET, syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC|syscall.SOCK_NONBLOCK, 0)
	if errno != 0 {
		return 0
	}
	n := w.exchange(fd)
	syscall.RawSyscall(syscall.SYS_CLOSE, fd, 0, 0)
	return n
}

//go:nosplit
func (w *shortWay) exchange(fd uintptr) int {
	if _, _, errno := syscall.RawSyscall(syscall.SYS_CONNECT, fd, uintptr(unsafe.Pointer(&w.agent)), unsafe.Sizeof(w.agent)); errno != 0 {
		return 0
	}
	// An agent that refuses the caller closes before it has read the line: that is no reason to die of SIGPIPE.
	sent, _, errno := syscall.RawSyscall6(syscall.SYS_SENDTO, fd, uintptr(unsafe.Pointer(&w.request)), uintptr(w.length), syscall.MSG_NOSIGNAL, 0, 0)
	if errno != 0 || int(sent) != w.length {
		return 0
	}
	for n := 0; n < shortMost; {
		poll := struct {
			fd              int32
			events, revents int16
		}{fd: int32(fd), events: pollIn}
		limit := syscall.Timespec{Sec: wire.DefaultWaitMillis / 1000}
		ready, _, errno := syscall.RawSyscall6(syscall.SYS_PPOLL, uintptr(unsafe.Pointer(&poll)), 1, uintptr(unsafe.Pointer(&limit)), 0, 0, 0)
		if ready == 0 && errno == 0 {
			w.waited = wire.DefaultWaitMillis
		}
		if ready != 1 {
			return 0
		}
		k, _, errno := syscall.RawSyscall(syscall.SYS_READ, fd, uintptr(unsafe.Pointer(&w.answer))+uintptr(n), uintptr(shortMost-n))
		if errno != 0 || k == 0 {
			return 0
		}
		n += int(k)
		if last := uint(n - 1); last < shortMost && w.answer[last] == '\n' {
			return n
		}
	}
	return 0
}

// leave prints the answer and ends the program, if the answer is what wire.Answer writes.
//
//go:nosplit
func (w *shortWay) leave(n int) {
	const head, body, tail = `{"exit":`, `,"stdout":`, "}\n"
	const from = len(head) + 1 + len(body)
	answer := unsafe.String(&w.answer[0], n)
	if n < from+len(tail) || answer[:len(head)] != head || answer[len(head)+1:from] != body || answer[n-len(tail):] != tail {
		return
	}
	code := uintptr(answer[len(head)] - '0')
	text := answer[from : n-len(tail)]
	if code > 1 || code == 1 && text == "null" {
		return
	}
	if text != "null" {
		if last := uint(n - len(tail)); last < shortMost {
			w.answer[last] = '\n'
		}
		for at, end := from, n-1; at < end; {
			k, _, errno := syscall.RawSyscall(syscall.SYS_WRITE, 1, uintptr(unsafe.Pointer(&w.answer))+uintptr(at), uintptr(end-at))
			if errno != 0 && errno != syscall.EINTR {
				code = 1
				break
			}
			if errno == 0 {
				at += int(k)
			}
		}
	}
	for {
		syscall.RawSyscall(syscall.SYS_EXIT_GROUP, code, 0, 0)
	}
}
