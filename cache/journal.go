package cache

// Names below the directory journal.
const (
	journalDir  = "journal"
	journalLock = "lock"
)

// Created implements [Keeper].
func (d *Disk) Created(kind Kind, id string, bytes int64) {}
