package cache

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Policy says what [Disk.Collect] removes. A Policy that says nothing removes nothing. An entry goes
// when any of MaxBytes, MinFree, MaxAge and All asks for it; those that were not used for the longest
// time go first.
type Policy struct {
	// MaxBytes is how many bytes the entries may occupy on the disk, those of Kinds if there are any;
	// 0 is no limit. The directories that hold the entries come on top, about one part in fifty.
	MaxBytes int64

	// MinFree is how many bytes must be free on the file system for this user; 0 is no limit.
	MinFree int64

	// MaxAge is how long an entry may stay unused; 0 is no limit.
	MaxAge time.Duration

	// All removes everything that no living lease covers.
	All bool

	// Kinds are the only kinds that are removed and counted; nil are all.
	Kinds []Kind

	// DryRun removes nothing. The [Collection] then says what would be removed.
	DryRun bool

	// NoWait returns an error wrapping [ErrLocked] while another collection is under way in this
	// directory, in any process. Without it Collect waits for the other to end.
	NoWait bool
}

// check returns an error for a policy that cannot be meant.
func (p Policy) check(known []Kind) error {
	for _, n := range []struct {
		name  string
		value int64
	}{{"MaxBytes", p.MaxBytes}, {"MinFree", p.MinFree}, {"MaxAge", int64(p.MaxAge)}} {
		if n.value < 0 {
			return fmt.Errorf("cache: Policy.%s is %d; write 0 for no limit, or a number above", n.name, n.value)
		}
	}
	for _, k := range p.Kinds {
		if !slices.Contains(known, k) {
			words := make([]string, len(known))
			for i, k := range known {
				words[i] = string(k)
			}
			return fmt.Errorf("cache: Policy.Kinds has %q, which is not kept here; there are %s", k, strings.Join(words, ", "))
		}
	}
	return nil
}

// removes reports whether anything can come of the policy.
func (p Policy) removes() bool { return p.MaxBytes > 0 || p.MinFree > 0 || p.MaxAge > 0 || p.All }

func (p Policy) covers(k Kind) bool { return p.Kinds == nil || slices.Contains(p.Kinds, k) }

// Reason says why an entry was removed.
type Reason uint8

// The reasons. Of several that hold the first one is given.
const (
	// ReasonAll: the policy removes all.
	ReasonAll Reason = iota + 1
	// ReasonAge: unused for longer than MaxAge.
	ReasonAge
	// ReasonBytes: there were more than MaxBytes.
	ReasonBytes
	// ReasonFree: less than MinFree was free.
	ReasonFree
)

// String says the reason in a few words.
func (r Reason) String() string {
	switch r {
	case ReasonAll:
		return "all is removed"
	case ReasonAge:
		return "unused for too long"
	case ReasonBytes:
		return "the cache is too large"
	case ReasonFree:
		return "the disk is too full"
	}
	return fmt.Sprintf("Reason(%d)", uint8(r))
}

// Removal is an entry that was removed, or in a dry run would be, and why.
type Removal struct {
	Entry
	Reason Reason
}

// String says what was removed, when it was last used, and why.
func (r Removal) String() string {
	name := r.Detail
	if name == "" {
		name = r.ID
	}
	return fmt.Sprintf("%s %s, %d bytes, last used %s: %v", r.Kind, name, r.Bytes, r.Used.UTC().Format(time.DateTime), r.Reason)
}

// Collection is what [Disk.Collect] did.
type Collection struct {
	// Removed has what was removed, in that order: what was unused for the longest time comes first,
	// and of entries used at the same instant the one with the lesser kind and then ID.
	Removed []Removal

	// Freed is the sum of the bytes of Removed.
	Freed int64

	// Kept is what the entries that stay occupy, of all kinds or those of Policy.Kinds. It comes out
	// of the journal, which [Disk.Usage] sets right.
	Kept int64

	// Short is how many more bytes MaxBytes or MinFree would have removed. They are in use, covered by
	// a lease, or could not be removed.
	Short int64

	// Lease is when the oldest living lease began, the zero time if there is none: nothing that was
	// used since has been removed.
	Lease time.Time
}
