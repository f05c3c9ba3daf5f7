package source

import (
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/stagewright/stagewright/internal/keep"
)

// Memo remembers the digests of files by their stat signature, so that an
// unchanged directory is looked at and not read. It keeps one file for each
// directory in a private folder. It is a hint: a memo that is missing, damaged
// or not writable costs time, never an error and never a wrong digest.
//
// # What is trusted
//
// The signature is path, inode number, size, mtime and ctime, in nanoseconds.
// The device number is not part of it: network, overlay and btrfs mounts get
// another one each time. A change of content that keeps the size and restores
// the mtime still moves the ctime, which no program can set.
//
// A write within one tick of the filesystem's clock leaves no trace in the
// signature (the racy window). A digest is therefore remembered only when the
// file's mtime and ctime were older than the moment its reading began by a margin:
// 20 ms, as the kernel's clock for file times ticks every 10 ms or faster, or 2 s
// where times are whole seconds or another machine's (NFS, SMB, 9p, FUSE and
// every system but Linux). Hash waits for up to 40 ms where that
// settles a file. What the signature cannot show: a clock that was set back to
// the very nanosecond, pages of a shared memory map that were dirty before the
// file was read and are written again after it, and content changed beneath the
// filesystem.
//
// That a file has no extended attributes is remembered by the same signature and
// margin, on ext4, XFS and Btrfs, where setting one moves the ctime.
//
// Several goroutines and processes may use one folder; each file is replaced as
// a whole and the last writer wins.
type Memo struct {
	dir   string
	mu    sync.Mutex
	roots map[string]*memoRoot
}

// OpenMemo returns the memo kept in dir, which is made (mode 0700) when the
// first digest is written. It must be private: who can write it can make a build
// take old content for new. A file in it that belongs to another user, or that
// others can write, is not believed.
func OpenMemo(dir string) *Memo {
	return &Memo{dir: dir, roots: map[string]*memoRoot{}}
}

// root returns what is remembered of one directory, nil for no memo.
func (m *Memo) root(path string) *memoRoot {
	if m == nil {
		return nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	r := m.roots[path]
	if r == nil {
		name := sha256.Sum256([]byte(path))
		r = &memoRoot{root: path, file: filepath.Join(m.dir, hex.EncodeToString(name[:16])+".memo")}
		m.roots[path] = r
	}
	return r
}

// memoRoot is what a Memo knows of one directory. A nil one knows nothing.
type memoRoot struct {
	root, file string

	mu     sync.Mutex
	loaded bool
	groups map[string]memoGroup // by directory; never edited, only replaced
}

// known returns what is known by directory, reading the file at the first call.
func (r *memoRoot) known() map[string]memoGroup {
	if r == nil {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.load()
}

// load is known for who holds the lock.
func (r *memoRoot) load() map[string]memoGroup {
	if !r.loaded {
		r.loaded = true
		sweepMemo(r.file)
		if r.groups = loadMemo(r.file, r.root); len(r.groups) > 0 {
			keep.Touch(r.file)
		}
	}
	return r.groups
}

// count is the number of records.
func count(groups map[string]memoGroup) (n int64) {
	for _, g := range groups {
		n += int64(g.count)
	}
	return n
}

// remember adds fresh, sorted by path and hashed, to what is known, and writes
// the file when there is any. Records of files that were not asked for stay,
// since other ignore rules may select them, as long as they are not many more
// than the listed files.
func (r *memoRoot) remember(fresh []*Entry, listed int64) {
	if r == nil || len(fresh) == 0 {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	groups := map[string]memoGroup{}
	if old := r.load(); count(old) <= 2*listed+10_000 {
		maps.Copy(groups, old)
	}
	byDir := map[string][]*Entry{}
	for n, e := range fresh {
		if n > 0 && fresh[n-1].Path == e.Path {
			continue
		}
		dir, _ := splitPath(e.Path)
		byDir[dir] = append(byDir[dir], e)
	}
	for dir, entries := range byDir {
		groups[dir] = groups[dir].with(entries)
	}
	r.groups = groups
	_ = saveMemo(r.file, memoFile(r.root, groups)) // a hint that cannot be kept is no error
}

// with is the group with entries, sorted by name, in place of what it has of these names.
func (g memoGroup) with(entries []*Entry) memoGroup {
	w := groupWriter{memoGroup: memoGroup{records: make([]byte, 0, len(g.records)+len(entries)*(recordFixed+16))}}
	old := memoReader{rest: g.records}
	ok := old.next()
	for _, e := range entries {
		_, name := splitPath(e.Path)
		for ok && string(old.name) < name {
			w.add(old.name, old.flags, old.sign, old.digest)
			ok = old.next()
		}
		if ok && string(old.name) == name {
			ok = old.next()
		}
		var flags byte
		if e.id.bare {
			flags |= flagBare
		}
		w.add([]byte(name), flags, signatureOf(e), &e.Digest)
	}
	for ok {
		w.add(old.name, old.flags, old.sign, old.digest)
		ok = old.next()
	}
	return w.memoGroup
}

// splitPath cuts a path into its directory, "" for the root, and its last element.
func splitPath(p string) (dir, name string) {
	if i := strings.LastIndexByte(p, '/'); i >= 0 {
		return p[:i], p[i+1:]
	}
	return "", p
}

// saveMemo replaces the file at path as a whole. It is not synced: a checksum
// tells a torn file, which is then ignored.
func saveMemo(path string, data []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	f, err := createMemo(path)
	if err != nil {
		return err
	}
	if _, err = f.Write(data); err == nil {
		return moveMemo(f, path)
	}
	os.Remove(f.Name())
	f.Close()
	return err
}
