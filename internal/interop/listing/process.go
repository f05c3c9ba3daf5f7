package listing

import "strings"

// Process is what the program of an image finds when an engine starts it.
type Process struct {
	Platform string // as the program was compiled
	User     string // "uid:gid"
	Groups   []int  // supplementary, sorted
	Dir      string
	Args     []string // after the entrypoint
	Env      []string
	Setuid   string // effective user and capabilities of a setuid program
	Capable  string // and of one with file capabilities
}

// AddedByEngines tells what a container has that its image has not: what engines mount and put there.
func AddedByEngines(path string) bool {
	switch path {
	case "/proc", "/sys", "/dev", "/etc/mtab", "/etc/hosts", "/etc/hostname", "/etc/resolv.conf", "/.dockerenv", "/run/.containerenv", ProbePath:
		return true
	}
	return false
}

// ProbePath is where a container gets a probe from this machine, for an image whose own programs this machine may not be able to run.
const ProbePath = "/.probe"

// Stored tells the extended attributes that belong to an image; the others are those of a security module or of an overlay.
func Stored(name string) bool {
	return strings.HasPrefix(name, "user.") || name == "security.capability"
}
