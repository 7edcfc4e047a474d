package v1alpha1

import (
	"path"
	"slices"
	"strings"
)

// checkSink: exactly one way out, and none that depends on where the agent was started.
func checkSink(r *report, s JournalSink) {
	const at = "spec.journal.sink"
	if s.Folder != "" && len(s.Command) > 0 {
		r.errorf(at+".command", "remove one of them", "is given, and so is "+at+".folder")
	}
	if s.Folder != "" && (!wholePath(s.Folder) || s.Folder == "/") {
		r.errorf(at+".folder", "write the whole path, for example /mnt/journals", "%q is not the path of a folder", s.Folder)
	}
	if s.Command == nil {
		return
	}
	switch {
	case len(s.Command) == 0 || !wholePath(s.Command[0]):
		r.errorf(at+".command", "write the program's whole path as the first word", "%q names no program", s.Command)
	case slices.ContainsFunc(s.Command, func(w string) bool { return strings.ContainsRune(w, 0) }):
		r.errorf(at+".command", "remove it", "a word has a zero byte, which no program can be given")
	}
}

func wholePath(p string) bool { return path.IsAbs(p) && path.Clean(p) == p && printable(p) }
