package main

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"testing"
)

const tree = "../.."

// Mistakes of every kind can be made in what decides about packets.
func TestDraw(t *testing.T) {
	for of, s := range subjects {
		faults, err := (&bed{tree: tree, of: s}).draw(rand.New(rand.NewPCG(1, 20)))
		if err != nil {
			t.Errorf("%s: %v", of, err)
		}
		for _, o := range operators {
			if len(faults[o.name]) == 0 && !(of == "nat64" && o.name == "map key truncated") { // it has ports in its keys alone
				t.Errorf("%s: there is no place for %q", of, o.name)
			}
		}
	}
}

// The same seed makes the same mistakes in the same order, or a mistake that went unnoticed could not be made again.
func TestDrawIsTheSameAgain(t *testing.T) {
	for of, s := range subjects {
		draw := func() map[string][]fault {
			faults, err := (&bed{tree: tree, of: s}).draw(rand.New(rand.NewPCG(1, 20)))
			if err != nil {
				t.Fatal(err)
			}
			return faults
		}
		first := draw()
		for range 16 {
			if again := draw(); !reflect.DeepEqual(again, first) {
				t.Fatalf("%s: other mistakes, or in another order", of)
			}
		}
	}
}

// undecided are the headers that decide nothing: shapes, names and counts.
var undecided = []string{"include/event.h", "include/hexapod.h", "include/slot.h", "include/translate.h", "include/why.h"}

// A header that was split or renamed goes on to be among those in which mistakes are made.
func TestNoSourceIsForgotten(t *testing.T) {
	for of, s := range subjects {
		for _, name := range append(included(t, s.sources[0]), s.sources...) {
			if !slices.Contains(s.sources, name) && !slices.Contains(undecided, name) {
				t.Errorf("%s: no mistakes are made in bpf/%s, which %s includes", of, name, s.sources[0])
			}
		}
	}
}

var include = regexp.MustCompile(`(?m)^#include "([^"]+)"`)

// included lists the headers of ours that a source takes in.
func included(t *testing.T, source string) (list []string) {
	t.Helper()
	for queue := []string{source}; len(queue) > 0; queue = queue[1:] {
		text, err := os.ReadFile(filepath.Join(tree, "bpf", queue[0]))
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range include.FindAllStringSubmatch(string(text), -1) {
			if name := "include/" + m[1]; !slices.Contains(list, name) {
				list, queue = append(list, name), append(queue, name)
			}
		}
	}
	return list
}
