//go:build !linux && !darwin

package source

func openBeneath(path string) (beneath, error) { return openPortable(path) }

// fillSys does nothing: there is no owner and no inode to be had, so a memo is
// not used and each Hash reads.
func fillSys(*Entry, any) {}
