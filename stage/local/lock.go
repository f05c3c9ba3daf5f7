package local

import "errors"

// lockMode is how a lock is taken.
type lockMode uint8

const (
	lockShared    lockMode = iota // together with others, waiting for one who holds it alone
	lockExclusive                 // alone, waiting
	lockNow                       // alone, or errLocked at once
)

// errLocked says that somebody else holds a lock.
var errLocked = errors.New("locked")
