package cache

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"runtime"
)

// Scrubbing is what [Disk.Verify] has read and found.
type Scrubbing struct {
	// Kinds are what was read, by kind: records, blobs, and those of the areas that are
	// a [Scrubber].
	Kinds []Scrubbed
	// Unread are the kinds of the other areas, as far as there are entries, with what these occupy: nothing here tells what they should be.
	Unread []Scrubbed
	// Damaged are the entries that are not what they should be, or cannot be read.
	Damaged []Damage
}

// Scrubbed is what was read of one kind.
type Scrubbed struct {
	Kind    Kind
	Entries int
	Bytes   int64
	// Later is how many of the entries nothing tells here what they should be. They are
	// compared when somebody uses them next.
	Later int
}

// Damage is an entry that is not what it should be.
type Damage struct {
	Kind Kind
	ID   string
	Err  error // what is wrong with it
	// Removed says that nobody finds it any more: it is made again, or fetched again, when it is
	// wanted. What stays is what this process may not remove.
	Removed bool
}

// String names the entry and what is wrong with it.
func (d Damage) String() string {
	text := fmt.Sprintf("%s %s: %v", d.Kind, d.ID, d.Err)
	if !d.Removed {
		text += "; it could not be removed"
	}
	return text
}

// Scrubber is implemented by an [Area] that can compare what it has with what the records say of it.
type Scrubber interface {
	// Record is called before Scrub with each record of the store that is whole.
	Record(key Key, data []byte)

	// Scrub reads all entries and calls damaged for each that is not what it should be, after it
	// has seen to it that nobody finds it. What it needs of the store it reads from s, verified. An
	// error is one of reading the area at all, or the context's.
	Scrub(ctx context.Context, s Store, damaged func(Damage)) (Scrubbed, error)
}

// Verify reads every record and every blob of the store, and every entry of the areas that are a
// [Scrubber], and compares them with their checksums and digests: it finds what has gone wrong on
// the disk where nobody has looked yet. What is damaged is removed, and is a miss from then on. It
// takes as long as reading the whole store, and may be called beside builds. Last uses stay what
// they are, where the system lets a file be read without that.
//
// An error is one of reading the store at all, or the context's.
func (d *Disk) Verify(ctx context.Context, areas ...Area) (*Scrubbing, error) {
	var scrubbers []Scrubber
	out := &Scrubbing{}
	for _, a := range areas {
		if s, ok := a.(Scrubber); ok {
			scrubbers = append(scrubbers, s)
		} else if err := out.leave(ctx, a); err != nil {
			return nil, d.wrap("verify", err)
		}
	}
	damaged := func(x Damage) { out.Damaged = append(out.Damaged, x) }
	buf := make([]byte, 1<<20)
	for _, own := range d.ownAreas() {
		kind := Scrubbed{Kind: own.kind}
		err := own.each(ctx, func(path string, info fs.FileInfo, what place) error {
			if what != entry {
				return nil
			}
			n, err := d.check(ctx, own.kind, path, info.Name(), buf, scrubbers)
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if errors.Is(err, fs.ErrNotExist) {
				return nil // removed meanwhile
			}
			kind.Entries++
			kind.Bytes += n
			if err != nil {
				damaged(Damage{Kind: own.kind, ID: info.Name(), Err: err, Removed: d.removeDamaged(path, err)})
			}
			return nil
		})
		if err != nil {
			return nil, d.wrap("verify", err)
		}
		out.Kinds = append(out.Kinds, kind)
	}
	for _, s := range scrubbers {
		kind, err := s.Scrub(ctx, d, damaged)
		if err != nil {
			return nil, d.wrap("verify", err)
		}
		out.Kinds = append(out.Kinds, kind)
	}
	return out, nil
}

// leave notes what there is of an area that is not read.
func (s *Scrubbing) leave(ctx context.Context, a Area) error {
	kind := Scrubbed{Kind: a.Kind()}
	err := a.Scan(ctx, func(e Entry) error {
		kind.Entries++
		kind.Bytes += e.Bytes
		return ctx.Err()
	})
	if kind.Later = kind.Entries; kind.Entries > 0 {
		s.Unread = append(s.Unread, kind)
	}
	return err
}

// check reads a record or a blob, and tells those who want to know of a record that is whole.
func (d *Disk) check(ctx context.Context, kind Kind, path, id string, buf []byte, scrubbers []Scrubber) (int64, error) {
	f, err := openQuietly(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	if kind == KindBlob {
		want, err := ParseDigest("sha256:" + id)
		if err != nil {
			return 0, err
		}
		h := sha256.New()
		n, err := io.CopyBuffer(h, untilDone{ctx, f}, buf)
		if err != nil {
			return n, err
		}
		return n, Verify(path, want, Digest(h.Sum(nil)))
	}
	file, err := io.ReadAll(io.LimitReader(f, int64(recordHeader+MaxRecord+1)))
	if err != nil {
		return 0, err
	}
	key, err := ParseDigest("sha256:" + id)
	if err != nil {
		return 0, err
	}
	data, ok := decodeRecord(Key(key), file)
	if !ok {
		data, ok = inBatch(Key(key), file)
	}
	if !ok {
		return int64(len(file)), errBadRecord
	}
	for _, s := range scrubbers {
		s.Record(Key(key), data)
	}
	return int64(len(file)), nil
}

var errBadRecord = errors.New("it is no whole record of this key")

// removeDamaged removes a file that is damaged; not one that may not be read, of which nobody
// knows what it is.
func (d *Disk) removeDamaged(path string, why error) bool {
	if errors.Is(why, fs.ErrPermission) {
		return false
	}
	err := os.Remove(path)
	return err == nil || errors.Is(err, fs.ErrNotExist)
}

// untilDone reads until the context ends. It hides what io.CopyBuffer would use instead of the buffer.
type untilDone struct {
	ctx context.Context
	r   io.Reader
}

func (u untilDone) Read(p []byte) (int, error) {
	if err := u.ctx.Err(); err != nil {
		return 0, err
	}
	return u.r.Read(p)
}

// openQuietly opens a regular file so that reading it leaves its last use as it is, where the
// system can.
func openQuietly(name string) (*os.File, error) {
	if runtime.GOOS == "linux" {
		if f, err := os.OpenFile(name, os.O_RDONLY|quietFlags, 0); err == nil {
			return f, nil
		}
	}
	f, _, err := openRegular(name)
	if errors.Is(err, errNoFile) {
		err = fs.ErrNotExist
	}
	return f, err
}
