package main

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"strings"

	"hexapod.dev/linux/child"
	"hexapod.dev/linux/nat64"
)

const childAbout = "Runs a part of the agent as a process without privileges. Only the agent starts it."

// children are what the word behind `hexapod child` can be.
func children() map[string]func(context.Context, *child.Self, *slog.Logger) error {
	return map[string]func(context.Context, *child.Self, *slog.Logger) error{
		"dns":       serveDNS,
		nat64.Child: nat64.RunChild,
	}
}

func runChild(ctx context.Context, env environment, args []string) error {
	f := newFlags(env, childAbout)
	if help, err := f.parse(args, "NAME"); help || err != nil {
		return err
	}
	serve, ok := children()[f.words[0]]
	if !ok {
		return usagef("child %q: want one of %s", f.words[0], strings.Join(slices.Sorted(maps.Keys(children())), ", "))
	}
	self, err := child.Begin()
	if err != nil {
		return err
	}
	return serve(ctx, self, newLogger(env.stderr, slog.LevelInfo, "text").With("child", f.words[0]))
}
