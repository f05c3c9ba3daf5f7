package cache

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"sync"

	"github.com/stagewright/stagewright/internal/filestat"
)

// Record is a record with its key.
type Record struct {
	Key  Key
	Data []byte
}

// Batcher is a [Store] to which many records cost less together. Use [PutAll].
type Batcher interface {
	// PutAll is as the package function.
	PutAll(ctx context.Context, records []Record) error
}

// PutAll puts several records, which may become visible one after the other. Each is as good as by Put: when PutAll returns, every
// blob committed before it through the same store lasts at least as long as they do. The store keeps no reference to the data.
// A store that is no [Batcher] puts them one by one. After an error some of the records are there.
func PutAll(ctx context.Context, s Store, records []Record) error {
	if b, ok := s.(Batcher); ok {
		return b.PutAll(ctx, records)
	}
	for _, r := range records {
		if err := s.Put(ctx, r.Key, r.Data); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// A batch is a file with several records, which has the name of each: hard links. It is the magic, and then each record as in
// a file of its own, preceded by the length of that in 4 bytes, big-endian. To make a name costs a tenth of making a file.
const (
	batchMagic = "stagewright records 1\n"
	batchHead  = 4
	// Who wants one record reads the file: it is small.
	maxBatch     = 64
	maxBatchSize = 64 << 10
)

// PutAll implements [Batcher]. Small records go many to a file; see FORMAT.md.
func (d *Disk) PutAll(ctx context.Context, records []Record) error {
	for _, r := range records {
		if err := checkRecordSize(r.Data); err != nil {
			return err
		}
	}
	for len(records) > 0 {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, size := 0, len(batchMagic)
		for n < min(len(records), maxBatch) {
			if size += batchHead + recordHeader + len(records[n].Data); size > maxBatchSize {
				break
			}
			n++
		}
		var err error
		if n > 1 && runtime.GOOS != "windows" {
			err = d.putBatch(ctx, records[:n], size)
		} else {
			n = 1
			err = d.Put(ctx, records[0].Key, records[0].Data)
		}
		if err != nil {
			return err
		}
		records = records[n:]
	}
	return ctx.Err()
}

// putBatch puts records into one file. One that cannot have a name of it, for example because there is a record under its key,
// gets a file of its own.
func (d *Disk) putBatch(ctx context.Context, records []Record, size int) error {
	file := append(make([]byte, 0, size), batchMagic...)
	for _, r := range records {
		one := encodeRecord(r.Key, r.Data)
		file = append(binary.BigEndian.AppendUint32(file, uint32(len(one))), one...)
	}
	f, info, err := d.writeTemp(file)
	if err != nil {
		return d.wrap("put", err)
	}
	defer os.Remove(f) // if that fails, the next process does it
	if !d.opts.NoSync {
		if err := d.syncBlobs(); err != nil {
			return d.wrap("put", err)
		}
	}
	used := d.stampNew(f, info)
	lines := make([]line, len(records))
	for i, r := range records {
		lines[i] = line{used, filestat.Allocated(info) / int64(len(records)), r.Key.Hex()}
	}
	d.created(KindRecord, lines...)
	for _, r := range records {
		err := linkInto(f, d.recordPath(r.Key))
		if err != nil {
			err = d.Put(ctx, r.Key, r.Data)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// linkInto gives a finished temporary file one more name.
func linkInto(temp, target string) error {
	err := os.Link(temp, target)
	if errors.Is(err, fs.ErrNotExist) {
		if err := os.MkdirAll(filepath.Dir(target), 0o700); err != nil {
			return err
		}
		err = os.Link(temp, target)
	}
	return err
}

// inBatch finds a record in a batch. It is hostile input.
func inBatch(k Key, file []byte) (data []byte, ok bool) {
	rest, ok := bytes.CutPrefix(file, []byte(batchMagic))
	for ok && len(rest) > batchHead {
		n := binary.BigEndian.Uint32(rest)
		if uint64(n) > uint64(len(rest)-batchHead) {
			break
		}
		one := rest[batchHead : batchHead+int(n)]
		rest = rest[batchHead+int(n):]
		if data, ok := decodeRecord(k, one); ok {
			return data, true
		}
	}
	return nil, false
}

// batches are batches that were read lately: who asks for one record of a batch asks for the others. They count as long as the name
// of a record is one of their file.
type batches struct {
	mu    sync.RWMutex
	files map[filestat.Inode]*batch // by the file's inode
	bytes int
}

// maxBatches bounds the memory of batches, in bytes.
const maxBatches = 16 << 20

type batch struct {
	info    fs.FileInfo
	records map[Key][]byte // each as in a file of its own
}

// get returns a record of a batch that was read, by what its name says now.
func (b *batches) get(k Key, info fs.FileInfo) ([]byte, bool) {
	id, ok := filestat.Shared(info)
	if !ok {
		return nil, false
	}
	b.mu.RLock()
	known := b.files[id]
	b.mu.RUnlock()
	if known == nil || !known.is(info) {
		return nil, false
	}
	data, ok := decodeRecord(k, known.records[k])
	return bytes.Clone(data), ok
}

// is reports whether a file that may be the one of a batch is it.
func (b *batch) is(info fs.FileInfo) bool {
	return os.SameFile(b.info, info) && b.info.Size() == info.Size() && b.info.ModTime().Equal(info.ModTime())
}

// byKey says in which of the batches that were read the record of a key is.
func (b *batches) byKey() map[Key]*batch {
	b.mu.RLock()
	defer b.mu.RUnlock()
	of := map[Key]*batch{}
	for _, one := range b.files {
		for k := range one.records {
			of[k] = one
		}
	}
	return of
}

func (b *batches) any() bool {
	b.mu.RLock()
	defer b.mu.RUnlock()
	return len(b.files) > 0
}

// add remembers a batch that was read.
func (b *batches) add(info fs.FileInfo, file []byte) {
	id, ok := filestat.Shared(info)
	rest, is := bytes.CutPrefix(file, []byte(batchMagic))
	if !ok || !is || len(file) > maxBatchSize {
		return
	}
	read := &batch{info: info, records: map[Key][]byte{}}
	for len(rest) > batchHead {
		n := binary.BigEndian.Uint32(rest)
		if uint64(n) > uint64(len(rest)-batchHead) {
			break
		}
		if one := rest[batchHead : batchHead+int(n)]; len(one) >= recordHeader {
			read.records[Key(one[len(recordMagic):])] = one
		}
		rest = rest[batchHead+int(n):]
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.files == nil || b.bytes+len(file) > maxBatches {
		b.files, b.bytes = map[filestat.Inode]*batch{}, 0
	}
	if b.files[id] == nil {
		b.bytes += len(file)
	}
	b.files[id] = read
}
