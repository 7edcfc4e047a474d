package cni

import (
	"context"
	"errors"
	"fmt"

	"hexapod.dev/edge/cni/wire"
)

// Code is an error code of the CNI specification.
type Code = wire.Code

// The codes a backend chooses from; package wire has all of them and what they mean.
const (
	CodeUnknownContainer = wire.CodeUnknownContainer
	CodeInvalidConfig    = wire.CodeInvalidConfig
	CodeInvalidNetNS     = wire.CodeInvalidNetNS
	CodeTryAgain         = wire.CodeTryAgain
	CodeNotAvailable     = wire.CodeNotAvailable
	CodeLimited          = wire.CodeLimited
	CodeFailed           = wire.CodeFailed
	CodeDiffers          = wire.CodeDiffers
)

// Error is an error with the code a runtime sees.
type Error struct {
	Code Code
	Err  error // the details
}

func (e *Error) Error() string { return e.Err.Error() }

func (e *Error) Unwrap() error { return e.Err }

// Errorf makes an error that a runtime sees with the given code; format and arguments are those of fmt.Errorf.
func Errorf(code Code, format string, args ...any) error {
	return &Error{code, fmt.Errorf(format, args...)}
}

// codeOf finds the code of an error: its own, "try again" for a context that ended, else otherwise.
func codeOf(err error, otherwise Code) Code {
	var coded *Error
	switch {
	case errors.As(err, &coded):
		return coded.Code
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return CodeTryAgain
	}
	return otherwise
}
