package wire

import "strconv"

// Code is an error code of the CNI specification, section 5 (Error). Codes from 100 on are Hexapod's own.
type Code int

// Codes 1 to 99 mean what the specification says.
const (
	CodeIncompatibleVersion Code = 1  // cniVersion is none of those served
	CodeUnsupportedField    Code = 2  // a field of the network configuration that Hexapod does not do
	CodeUnknownContainer    Code = 3  // the container does not exist; the runtime need not call DEL
	CodeInvalidEnvironment  Code = 4  // a CNI_* variable is missing or malformed
	CodeIO                  Code = 5  // something could not be read or written
	CodeDecode              Code = 6  // the request is not JSON or not UTF-8
	CodeInvalidConfig       Code = 7  // the network configuration is wrong
	CodeInvalidNetNS        Code = 8  // CNI_NETNS cannot be used
	CodeTryAgain            Code = 11 // transient: the agent is away, busy, or waits for its clock
	CodeNotAvailable        Code = 50 // STATUS: no ADD can be served
	CodeLimited             Code = 51 // STATUS: no ADD can be served and living endpoints may be cut off

	CodeFailed    Code = 100 // the agent failed
	CodeDiffers   Code = 101 // CHECK: what is there differs from what ADD answered
	CodeForbidden Code = 102 // the caller on the socket is not root
)

// Title is the short message of a code.
func (c Code) Title() string {
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
		return "cannot read or write"
	case CodeDecode:
		return "cannot decode"
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

// AppendError writes the error structure of the specification, compact, for a request of the given version.
func AppendError(out []byte, version string, code Code, details string) []byte {
	out = append(out, `{"cniVersion":`...)
	out = AppendString(out, version)
	out = append(out, `,"code":`...)
	out = strconv.AppendInt(out, int64(code), 10)
	out = append(out, `,"msg":`...)
	out = AppendString(out, code.Title())
	out = append(out, `,"details":`...)
	out = AppendString(out, details)
	return append(out, '}')
}

// AppendVersions writes the answer to VERSION, compact. version is that of the request.
func AppendVersions(out []byte, version string) []byte {
	out = append(out, `{"cniVersion":`...)
	out = AppendString(out, version)
	return append(out, `,"supportedVersions":["`+Version040+`","`+Version100+`","`+Version110+`"]}`...)
}

// Supported tells whether a version of the specification is served.
func Supported(version string) bool {
	return version == Version040 || version == Version100 || version == Version110
}
