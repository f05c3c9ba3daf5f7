package cache

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"io/fs"
	"os"
)

// A record file is the magic, the key, a checksum of both and the data, and the
// data. So one that is cut short, changed or moved to another key is a miss,
// and its bytes need no sync: a power cut costs the record, never the truth.
const (
	recordMagic  = "stagewright record 1\n"
	recordHeader = len(recordMagic) + len(Key{}) + sha256.Size
)

func encodeRecord(k Key, data []byte) []byte {
	out := make([]byte, 0, recordHeader+len(data))
	out = append(out, recordMagic...)
	out = append(out, k[:]...)
	sum := recordSum(k, data)
	out = append(out, sum[:]...)
	return append(out, data...)
}

// decodeRecord returns the data within file, which shares its memory.
func decodeRecord(k Key, file []byte) ([]byte, bool) {
	if len(file) < recordHeader || len(file) > recordHeader+MaxRecord {
		return nil, false
	}
	data := file[recordHeader:]
	head := file[len(recordMagic):recordHeader]
	if string(file[:len(recordMagic)]) != recordMagic || !bytes.Equal(head[:len(k)], k[:]) {
		return data, false // before the hash: of most records of a batch
	}
	sum := recordSum(k, data)
	return data, bytes.Equal(head[len(k):], sum[:])
}

func recordSum(k Key, data []byte) (sum [sha256.Size]byte) {
	h := sha256.New()
	h.Write([]byte(recordMagic))
	h.Write(k[:])
	h.Write(data)
	h.Sum(sum[:0])
	return sum
}

// Get implements [Store].
func (d *Disk) Get(ctx context.Context, key Key) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	name := d.recordPath(key)
	if d.batches.any() {
		if info, err := os.Lstat(name); errors.Is(err, fs.ErrNotExist) {
			return nil, notFound(key)
		} else if err == nil {
			if data, ok := d.batches.get(key, info); ok && d.use(name, info) {
				return data, nil
			}
		}
	}
	f, info, err := openRegular(name)
	if errors.Is(err, errNoFile) {
		return nil, notFound(key)
	}
	if err != nil {
		return nil, d.wrap("get", err)
	}
	defer f.Close()
	if info.Size() > int64(recordHeader+MaxRecord) {
		return nil, notFound(key)
	}
	file := make([]byte, info.Size())
	if _, err := io.ReadFull(f, file); err != nil {
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			return nil, notFound(key)
		}
		return nil, d.wrap("get", err)
	}
	data, ok := decodeRecord(key, file)
	if !ok {
		if data, ok = inBatch(key, file); ok {
			data = bytes.Clone(data)
			d.batches.add(info, file)
		}
	}
	if !ok || !d.use(name, info) {
		return nil, notFound(key)
	}
	return data, nil
}

// Put implements [Store].
func (d *Disk) Put(ctx context.Context, key Key, data []byte) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := checkRecordSize(data); err != nil {
		return err
	}
	temp, info, err := d.writeTemp(encodeRecord(key, data))
	if err != nil {
		return d.wrap("put", err)
	}
	if !d.opts.NoSync {
		err = d.syncBlobs()
	}
	if err == nil {
		err = d.moveIn(temp, info, d.recordPath(key), KindRecord, key.Hex())
	}
	if err != nil {
		_ = os.Remove(temp) // else the next process does it
		return d.wrap("put", err)
	}
	return nil
}

// writeTemp makes a temporary file.
func (d *Disk) writeTemp(data []byte) (name string, info fs.FileInfo, err error) {
	f, err := d.temp(0o600)
	if err != nil {
		return "", nil, err
	}
	_, err = f.Write(data)
	info, serr := f.Stat()
	if cerr := f.Close(); err == nil {
		err = cmp.Or(serr, cerr)
	}
	if err != nil {
		_ = os.Remove(f.Name()) // else the next process does it
	}
	return f.Name(), info, err
}
