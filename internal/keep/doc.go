// Package keep keeps files and directories that outlive builds, and removes them when nobody uses them: cache mounts, git mirrors, logs, memos.
//
// [Hold] marks a directory as used and keeps collectors off it; [Dirs] lists the directories that there are, [RemoveDir] removes one. Files are
// marked by [Touch] and listed by [Files].
//
// # Guarantees
//
// A directory that somebody holds is not removed, whatever process holds it, and one that is removed goes by one rename: who holds it sees it
// whole or not at all. When it was last used is the modification time of a file beside it, NAME.used, which is also what is locked.
//
// Sizes are what the disk says: allocated blocks, each inode once. Where files share blocks (reflinks) the disk gains less than their sum.
//
// Everything may be called by several goroutines and processes at once. Where the system has no flock(2), such as Windows, Hold marks only.
package keep
