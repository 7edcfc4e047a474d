package rtnl

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// Error is the kernel's refusal of one request. errors.Is finds its Errno.
type Error struct {
	What   string // the act and the thing: "add route 2001:db8::/64"
	Errno  unix.Errno
	Detail string // the kernel's own words, when it gave any (NLMSGERR_ATTR_MSG)
}

func (e *Error) Error() string {
	if e.Detail != "" {
		return fmt.Sprintf("%s: %s (the kernel says: %s)", e.What, e.Errno.Error(), e.Detail)
	}
	return fmt.Sprintf("%s: %s", e.What, e.Errno.Error())
}

func (e *Error) Unwrap() error { return e.Errno }

// acknowledged turns the end of a request (NLMSG_ERROR, also with errno 0, or NLMSG_DONE) into an error.
func (r *Request) acknowledged(m Message) error {
	errno := unix.Errno(-int32(u32(m.Body)))
	if errno == 0 {
		return nil
	}
	if r.isFine(errno) {
		if r.found != nil {
			r.found(errno)
		}
		return nil
	}
	e := &Error{What: r.what, Errno: errno}
	if at := 4 + unix.SizeofNlMsghdr; m.Type == unix.NLMSG_ERROR && m.Flags&unix.NLM_F_ACK_TLVS != 0 && len(m.Body) > at {
		for typ, value := range Attrs(m.Body[at:]) {
			if typ == unix.NLMSGERR_ATTR_MSG {
				e.Detail = text(value)
			}
		}
	}
	return e
}
