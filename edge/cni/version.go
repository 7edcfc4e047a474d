package cni

// Versions of the CNI specification that are served, oldest first. 0.3.x lacks CHECK and prevResult at DEL.
const (
	version040 = "0.4.0"
	version100 = "1.0.0"
	version110 = "1.1.0"
)

// SupportedVersions lists the versions of the CNI specification that are served, oldest first.
func SupportedVersions() []string { return []string{version040, version100, version110} }

func supported(version string) bool {
	return version == version040 || version == version100 || version == version110
}
