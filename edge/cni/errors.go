package cni

import (
	"context"
	"errors"
	"fmt"
)

// Code is an error code of the CNI specification, section 5 (Error). Codes from 100 on are Hexapod's own.
type Code int

// Codes 1 to 99 mean what the specification says.
const (
	CodeIncompatibleVersion Code = 1  // cniVersion is none of SupportedVersions
	CodeUnsupportedField    Code = 2  // a field of the network configuration that Hexapod does not do
	CodeUnknownContainer    Code = 3  // the container does not exist; the runtime need not call DEL
	CodeInvalidEnvironment  Code = 4  // a CNI_* variable is missing or malformed
	CodeIO                  Code = 5  // the request could not be read
	CodeDecode              Code = 6  // the request is not JSON or not UTF-8
	CodeInvalidConfig       Code = 7  // the network configuration is wrong
	CodeInvalidNetNS        Code = 8  // CNI_NETNS cannot be used
	CodeTryAgain            Code = 11 // transient: the agent is away, busy, or waits for its clock
	CodeNotAvailable        Code = 50 // STATUS: no ADD can be served
	CodeLimited             Code = 51 // STATUS: no ADD can be served and living endpoints may be cut off

	CodeFailed    Code = 100 // the backend failed
	CodeDiffers   Code = 101 // CHECK: what is there differs from what ADD answered
	CodeForbidden Code = 102 // the caller on the socket is not root
)

// title is the short message of a code.
func (c Code) title() string {
	switch c {
	case CodeIncompatibleVersion:
		return "incompatible CNI version"
	case CodeUnsupportedField:
		return "unsupported field in network configuration"
	case CodeUnknownContainer:
		return "unknown container"
	case CodeInvalidEnvironment:
		return "invalid environment variable"
	case CodeIO:
		return "cannot read the request"
	case CodeDecode:
		return "cannot decode the request"
	case CodeInvalidConfig:
		return "invalid network configuration"
	case CodeInvalidNetNS:
		return "invalid network namespace"
	case CodeTryAgain:
		return "try again later"
	case CodeNotAvailable:
		return "hexapod is not available"
	case CodeLimited:
		return "hexapod is not available, endpoints may have limited connectivity"
	case CodeDiffers:
		return "endpoint differs from its ADD result"
	case CodeForbidden:
		return "caller is not root"
	}
	return "hexapod failed"
}

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
