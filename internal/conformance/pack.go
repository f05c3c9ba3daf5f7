package conformance

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"os"
	"os/exec"
	"time"

	"github.com/klauspost/compress/zstd"
)

// bornAt is the time of everything that is made here.
func bornAt() time.Time { return time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC) }

// MissingProgramError says that this machine lacks a program that a case needs.
type MissingProgramError struct {
	Program string
	Err     error
}

// Error names the program.
func (e *MissingProgramError) Error() string {
	return fmt.Sprintf("this machine has no %s: %v", e.Program, e.Err)
}

// Unwrap returns the cause.
func (e *MissingProgramError) Unwrap() error { return e.Err }

// pack writes the entries as a tar archive, compressed as form says: "", gz, bz2, xz, zst.
func (s *fileset) pack(form string) ([]byte, error) {
	var plain bytes.Buffer
	if err := s.writeTar(&plain, s.list); err != nil {
		return nil, err
	}
	var packed bytes.Buffer
	switch form {
	case "":
		return plain.Bytes(), nil
	case "gz":
		w := gzip.NewWriter(&packed)
		_, err := w.Write(plain.Bytes())
		if err == nil {
			err = w.Close()
		}
		return packed.Bytes(), err
	case "zst":
		w, err := zstd.NewWriter(nil)
		if err != nil {
			return nil, err
		}
		return w.EncodeAll(plain.Bytes(), nil), nil
	case "bz2":
		return filter("bzip2", plain.Bytes())
	case "xz":
		return filter("xz", plain.Bytes())
	}
	return nil, fmt.Errorf("unknown form of archive: tar.%s", form)
}

func filter(program string, data []byte) ([]byte, error) {
	path, err := exec.LookPath(program)
	if err != nil {
		return nil, &MissingProgramError{program, err}
	}
	cmd := exec.Command(path, "-c")
	cmd.Stdin = bytes.NewReader(data)
	return cmd.Output()
}

var typeFlags = map[kind]byte{
	kindFile: tar.TypeReg, kindDir: tar.TypeDir, kindLink: tar.TypeSymlink, kindHard: tar.TypeLink, kindFifo: tar.TypeFifo,
	kindChar: tar.TypeChar, kindBlock: tar.TypeBlock,
}

func (s *fileset) writeTar(w io.Writer, entries []*entry) error {
	t := tar.NewWriter(w)
	for _, e := range entries {
		if err := e.writeTar(t); err != nil {
			return fmt.Errorf("%s: %w", e.path, err)
		}
	}
	return t.Close()
}

func (e *entry) writeTar(t *tar.Writer) error {
	flag, ok := typeFlags[e.kind]
	if !ok {
		return fmt.Errorf("a %s cannot be in an archive", e.kind)
	}
	h := &tar.Header{
		Typeflag: flag, Name: e.path, Linkname: e.target, Mode: int64(e.mode), Uid: e.uid, Gid: e.gid, ModTime: bornAt(),
		Devmajor: int64(e.major), Devminor: int64(e.minor), Size: int64(len(e.data)),
	}
	if e.kind == kindDir && e.path != "" && e.path[len(e.path)-1] != '/' {
		h.Name += "/"
	}
	for _, x := range e.xattrs {
		if h.PAXRecords == nil {
			h.PAXRecords = map[string]string{}
		}
		h.PAXRecords["SCHILY.xattr."+x.Name] = x.Value
	}
	if e.host == "" {
		if err := t.WriteHeader(h); err != nil {
			return err
		}
		_, err := t.Write(e.data)
		return err
	}
	f, err := os.Open(e.host)
	if err != nil {
		return err
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return err
	}
	h.Size = fi.Size()
	if err := t.WriteHeader(h); err != nil {
		return err
	}
	_, err = io.Copy(t, f)
	return err
}
