package main

import (
	"context"
	"fmt"
	"time"

	"hexapod.dev/agent/local"
)

const drainUsage = "[--wait DURATION] [--undo] [--run DIR]"

// drainWait is how long a drained host answers under its fixed addresses while routers forget them, by default.
const drainWait = 10 * time.Second

func runDrain(ctx context.Context, env environment, args []string) error {
	f := newFlags(env, "Takes this host out of service: lets far routers forget its fixed addresses, waits, withdraws everything, and takes leave of its BGP peers.")
	run := f.runDir()
	wait := f.Duration("wait", drainWait, "`DURATION` for far routers to forget the fixed addresses, before the rest is withdrawn")
	undo := f.Bool("undo", false, "bring the host back into service")
	if help, err := f.parse(args); help || err != nil {
		return err
	}
	if *wait < 0 {
		return usagef("--wait %s: want a duration that is not negative", *wait)
	}
	if err := local.NewClient(*run).Drain(ctx, *wait, *undo); err != nil {
		return err
	}
	if *undo {
		fmt.Fprintln(env.stdout, "the host announces its addresses again")
	} else {
		fmt.Fprintln(env.stdout, "the host is drained: nothing is announced and no session is left; hexapod drain --undo brings it back")
	}
	return nil
}
