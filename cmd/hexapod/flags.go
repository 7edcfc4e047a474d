package main

import (
	"errors"
	"flag"
)

// parseFlags reads args into f, whose usage goes to its output. help is true when that was all the caller wanted.
func parseFlags(f *flag.FlagSet, args []string) (help bool, err error) {
	switch err := f.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return true, nil
	case err != nil:
		return false, usageError{err}
	}
	return false, nil
}
