package wire

import (
	"errors"
	"unicode"
	"unicode/utf8"
)

// MaxContainerID bounds a container id in bytes. The specification sets no limit; the link's alias (256 bytes in the kernel, IFALIASZ)
// and a file name (255 bytes) hold it together with the interface name.
const MaxContainerID = 200

// maxIfName is IFNAMSIZ less the final zero.
const maxIfName = 15

// CheckContainerID tells what is wrong with a CNI_CONTAINERID: it must start with a letter or digit and go on with letters, digits,
// underscores, dots and hyphens (CNI specification, section 2, Parameters).
func CheckContainerID(id string) error {
	switch {
	case id == "":
		return errors.New("CNI_CONTAINERID is empty")
	case len(id) > MaxContainerID:
		return errors.New("CNI_CONTAINERID is longer than 200 bytes")
	case !wellNamed(id):
		return errors.New("CNI_CONTAINERID has a character other than letters, digits, '_', '.', '-', or does not start with a letter or digit")
	}
	return nil
}

// CheckNetwork tells what is wrong with the name of a network; the rule is that of container ids.
func CheckNetwork(name string) error {
	switch {
	case name == "":
		return errors.New("name is empty")
	case !wellNamed(name):
		return errors.New("name has a character other than letters, digits, '_', '.', '-', or does not start with a letter or digit")
	}
	return nil
}

func wellNamed(name string) bool {
	for i := 0; i < len(name); i++ {
		switch b := name[i]; {
		case 'a' <= b|0x20 && b|0x20 <= 'z', '0' <= b && b <= '9':
		case i > 0 && (b == '_' || b == '.' || b == '-'):
		default:
			return false
		}
	}
	return name != ""
}

// CheckIfName tells what is wrong with a CNI_IFNAME, by the kernel's rules (dev_valid_name): 1 to 15 bytes, not "." or "..", no slash,
// colon or white space. Control characters and bytes that are not UTF-8 are refused too: the name has to survive JSON. So are a percent
// sign, which makes the kernel choose another name (dev_get_valid_name), and the names of the settings for all links, under which a link
// has no IPv6 (sysctl_dev_name_is_allowed).
func CheckIfName(name string) error {
	switch {
	case name == "":
		return errors.New("CNI_IFNAME is empty")
	case len(name) > maxIfName:
		return errors.New("CNI_IFNAME is longer than 15 bytes")
	case name == "." || name == "..":
		return errors.New("CNI_IFNAME is a folder name")
	case name == "all" || name == "default":
		return errors.New("CNI_IFNAME is one of the two names that a link with IPv6 cannot have")
	case !utf8.ValidString(name):
		return errors.New("CNI_IFNAME is not UTF-8")
	}
	for _, r := range name {
		if r == '/' || r == ':' || r == '%' || unicode.IsSpace(r) || unicode.IsControl(r) {
			return errors.New("CNI_IFNAME has a slash, colon, percent sign, space or control character")
		}
	}
	return nil
}
