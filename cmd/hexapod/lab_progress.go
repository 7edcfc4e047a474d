package main

import (
	"fmt"
	"io"
)

// progress is one line that is written over and over while something long goes on; on anything but a terminal it is silent.
type progress struct {
	w     io.Writer
	shown bool
}

func newProgress(w io.Writer) *progress {
	if !isTerminal(w) {
		w = io.Discard
	}
	return &progress{w: w}
}

func (p *progress) pairs(done, all int) {
	p.shown = true
	fmt.Fprintf(p.w, "\r%d of %d pairs checked", done, all)
}

func (p *progress) end() {
	if p.shown {
		fmt.Fprintln(p.w)
		p.shown = false
	}
}
