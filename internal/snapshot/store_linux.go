package snapshot

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/stagewright/stagewright/internal/tree"
)

// On disk, below the directory given to Open:
//
//	root/ or user-<uid>/             one form for each identity: owners and attribute names on disk differ
//	    layers/<hex id>/fs           an overlay lower directory
//	    layers/<hex id>/manifest     the seal of fs; see manifest
//	    gate                         locked, together with others, while a layer is marked as used, and alone while one is removed
//	    locks                        one byte of it is locked while a layer is made or verified, so that processes make it once
//	    tmp/lock                     locked while sessions begin and are looked through
//	    tmp/<session>/lock           locked as long as the process lives
//	    tmp/<session>/<n>/           a layer or an upper in the making, of the form above, or what is to be deleted
//	    tmp/<session>/<n>/work       the work directory of an upper
//	    tmp/<session>/<n>.work       the same, once the upper is a layer
const (
	layersDir    = "layers"
	locksFile    = "locks"
	tmpDir       = "tmp"
	fsDir        = "fs"
	workDir      = "work"
	workSuffix   = ".work"
	manifestFile = "manifest"
	lockFile     = "lock"
)

// A Store keeps layers as directories below one private directory. Make one with [Open]. Its methods may be called concurrently.
type Store struct {
	base   string // absolute, of this identity's form
	layers root
	locks  *os.File
	host   host
	opts   Options
	boot   string // "" when unknown

	session *session // on the filesystem of the layers
	uppers  *session // where uppers are made, nil until needed: session itself, or one in Options.UpperDir

	mu       sync.Mutex
	ready    map[tree.Digest]fileID // layers verified or made by this store, with the identity of their manifests
	flights  map[tree.Digest]*flight
	unlocked sync.Mutex // held while modes are opened up for reading
	closed   atomic.Bool
}

// A host is what the calling process can put on this disk.
type host struct {
	owners  bool // files may belong to anybody: the effective user is 0
	trusted bool // trusted.* attributes can be set: root of the initial user namespace
}

// opaque names the attribute by which overlayfs, as mounted by this user's runner, marks a directory that hides those below it.
func (h host) opaque() string {
	if h.trusted {
		return "trusted.overlay.opaque"
	}
	return "user.overlay.opaque"
}

// fileID tells one file, that is never edited, from another that takes its name. The ctime is not in it: marking the file as used changes that.
type fileID struct {
	ino   uint64
	mtime int64
}

func (e *entry) id() fileID { return fileID{e.ino, e.mtime} }

// Open opens the store in dir, which it makes if missing with mode 0700. Everything below belongs to the store and must lie on one
// filesystem that is not shared with other machines. Open fails when the directory belongs to, or can be written by, somebody else.
//
// What processes that are dead left unfinished is removed in the background, until Close.
func Open(dir string, o Options) (*Store, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("snapshot: %w", err)
	}
	if o.Parallel <= 0 {
		o.Parallel = min(runtime.GOMAXPROCS(0), 8)
	}
	s := &Store{base: filepath.Join(dir, form()), opts: o, boot: bootID(), ready: map[tree.Digest]fileID{}, flights: map[tree.Digest]*flight{},
		layers: root{fd: -1}}
	if err := s.open(dir); err != nil {
		s.release()
		return nil, err
	}
	return s, nil
}

// form names the directory of this identity's form.
func form() string {
	if uid := os.Geteuid(); uid != 0 {
		return "user-" + strconv.Itoa(uid)
	}
	return "root"
}

// Sweep removes what processes that are dead left unfinished in the store in dir, without opening it. What cannot be removed stays for the next time.
func Sweep(dir string) {
	tmp := filepath.Join(dir, form(), tmpDir)
	if !hasDead(tmp) {
		return
	}
	if s, err := newSession(tmp); err == nil {
		s.sweeper.Wait()
		_ = s.close()
	}
}

func (s *Store) open(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("snapshot: %w", err)
	}
	if err := makePrivate(s.base); err != nil {
		return err
	}
	for _, name := range []string{layersDir, tmpDir} {
		if err := os.Mkdir(filepath.Join(s.base, name), 0o700); err != nil && !errors.Is(err, os.ErrExist) {
			return fmt.Errorf("snapshot: %w", err)
		}
	}
	var err error
	if s.layers, err = openRoot(filepath.Join(s.base, layersDir)); err != nil {
		return fmt.Errorf("snapshot: %w", err)
	}
	if s.locks, err = openLock(filepath.Join(s.base, locksFile)); err != nil {
		return err
	}
	if s.session, err = newSession(filepath.Join(s.base, tmpDir)); err != nil {
		return err
	}
	s.host.owners = os.Geteuid() == 0
	s.host.trusted = s.host.owners && unix.Setxattr(s.session.path, "trusted.stagewright", []byte("1"), 0) == nil
	return nil
}

// Close ends the store: what is unfinished is deleted, unadopted uppers included. Directories of layers stay. A second Close does nothing.
// No other method may be running.
func (s *Store) Close() error {
	if s.closed.Swap(true) {
		return nil
	}
	err := s.session.close()
	if s.uppers != nil && s.uppers != s.session {
		err = errors.Join(err, s.uppers.close())
	}
	s.release()
	return err
}

func (s *Store) release() {
	if s.layers.fd >= 0 {
		s.layers.close()
	}
	if s.locks != nil {
		s.locks.Close()
	}
}

// makePrivate makes dir, whose parent exists, a directory that nobody else can write: the kernel will be given what is in it as a root. A group
// or default ACL that files would inherit is taken off. It fails when dir belongs to somebody else.
func makePrivate(dir string) error {
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return fmt.Errorf("snapshot: %w", err)
	}
	r, err := openRoot(dir)
	if err != nil {
		return fmt.Errorf("snapshot: %w", err)
	}
	defer r.close()
	st, err := statAt(r.fd, "")
	if err != nil {
		return onDisk("lstat", dir, err)
	}
	if int(st.uid) != os.Geteuid() || st.mode&0o022 != 0 {
		return fmt.Errorf("snapshot: %s has mode %#o and owner %d, but must belong to uid %d and be writable by nobody else: remove it or choose another cache directory",
			dir, st.mode&0o7777, st.uid, os.Geteuid())
	}
	_ = unix.Fremovexattr(r.fd, "system.posix_acl_default") // absent nearly always
	return onDisk("chmod", dir, unix.Fchmod(r.fd, 0o700))
}

// bootID names the running boot of the kernel, "" when that cannot be told.
func bootID() string {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	id := strings.TrimSpace(string(b))
	if err != nil || len(id) != 36 {
		return ""
	}
	return id
}
