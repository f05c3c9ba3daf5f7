package toolbox

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// GoError says that the go command was not found or did not compile the toolbox.
type GoError struct {
	// Go is the command that was run, "" when none was found.
	Go string
	// Output is the end of what it wrote to its standard error.
	Output string
	// Fix says what to do.
	Fix string
	// Err is the cause.
	Err error
}

// Error tells what is wrong, and where.
func (e *GoError) Error() string {
	if e.Go == "" {
		return fmt.Sprintf("toolbox: no go command: %v; %s", e.Err, e.Fix)
	}
	msg := fmt.Sprintf("toolbox: %s: %v; %s", e.Go, e.Err, e.Fix)
	if e.Output != "" {
		msg += "\n" + e.Output
	}
	return msg
}

// Unwrap returns the cause.
func (e *GoError) Unwrap() error { return e.Err }

// slot is where one build lives: the binary, and beside it a record that says which file it was when it was complete.
type slot struct{ dir, name string }

// record is trusted as long as the binary's size and modification time are what they were.
type record struct {
	Digest   string
	Size     int64
	Mtime    int64 // nanoseconds since the Unix epoch
	Commands []string
}

func (s slot) binary() string { return filepath.Join(s.dir, s.name) }
func (s slot) record() string { return filepath.Join(s.dir, s.name+".json") }

// load returns the build when it is there and whole. Anything else, damage included, means that it must be built.
func (s slot) load() (Binary, bool) {
	data, err := os.ReadFile(s.record())
	if err != nil {
		return Binary{}, false
	}
	var r record
	if json.Unmarshal(data, &r) != nil || !slices.Contains(r.Commands, "sh") {
		return Binary{}, false
	}
	fi, err := os.Stat(s.binary())
	if err != nil || fi.Size() != r.Size || fi.ModTime().UnixNano() != r.Mtime {
		return Binary{}, false
	}
	return Binary{Path: s.binary(), Digest: r.Digest, Size: r.Size, Commands: r.Commands}, true
}

// build compiles into a temporary directory beside the slot and moves the result there, the record last.
func (s slot) build(ctx context.Context, arch string) (Binary, error) {
	work, err := os.MkdirTemp(s.dir, "toolbox-build-")
	if err != nil {
		return Binary{}, fmt.Errorf("toolbox: %w", err)
	}
	defer os.RemoveAll(work)
	out := filepath.Join(work, "out")
	if err := compile(ctx, arch, work, out); err != nil {
		return Binary{}, err
	}
	r, err := s.install(out)
	if err != nil {
		return Binary{}, fmt.Errorf("toolbox: keep the binary: %w", err)
	}
	return Binary{Path: s.binary(), Digest: r.Digest, Size: r.Size, Commands: r.Commands}, nil
}

func (s slot) install(out string) (record, error) {
	f, err := os.Open(out)
	if err != nil {
		return record{}, err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return record{}, err
	}
	// Named by mode, not by umask: others who share the directory may run it.
	if err := os.Chmod(out, 0o755); err != nil {
		return record{}, err
	}
	fi, err := f.Stat()
	if err != nil {
		return record{}, err
	}
	r := record{
		Digest:   "sha256:" + hex.EncodeToString(h.Sum(nil)),
		Size:     fi.Size(),
		Mtime:    fi.ModTime().UnixNano(),
		Commands: strings.Fields(commandNames),
	}
	data, err := json.Marshal(r)
	if err != nil {
		return record{}, err
	}
	// No fsync: the record names the size and time, and a binary lost in a crash is compiled again.
	if err := os.Rename(out, s.binary()); err != nil {
		return record{}, err
	}
	tmp := out + ".json"
	if err := os.WriteFile(tmp, data, 0o644); err != nil {
		return record{}, err
	}
	return r, os.Rename(tmp, s.record())
}

// compile runs the go command on the template, written into work.
func compile(ctx context.Context, arch, work, out string) error {
	src := filepath.Join(work, "src")
	if err := os.Mkdir(src, 0o755); err != nil {
		return fmt.Errorf("toolbox: %w", err)
	}
	if err := writeTemplate(src); err != nil {
		return fmt.Errorf("toolbox: write the template: %w", err)
	}
	goCommand, err := findGo()
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, goCommand, "build",
		"-mod=readonly", "-trimpath", "-buildvcs=false", "-ldflags=-s -w -buildid=", "-o", out, ".")
	cmd.Dir = src
	cmd.Env = buildEnv(os.Environ(), arch, src)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			return fmt.Errorf("toolbox: compile: %w", context.Cause(ctx))
		}
		output := tail(strings.TrimSpace(stderr.String()), 4<<10)
		return &GoError{Go: goCommand, Output: output, Fix: fixFor(arch, output), Err: err}
	}
	return nil
}

// buildEnv is the caller's environment (which says where the proxy and the caches are) without what could change the result.
func buildEnv(environ []string, arch, dir string) []string {
	env := slices.DeleteFunc(slices.Clone(environ), func(kv string) bool {
		name, _, _ := strings.Cut(kv, "=")
		switch name {
		case "GOOS", "GOARCH", "GO111MODULE", "GOEXPERIMENT", "GOFIPS140", "GODEBUG", "PWD":
			return true
		// The architecture's feature level is part of the result: always the default one.
		case "GOAMD64", "GOARM", "GOARM64", "GO386", "GOMIPS", "GOMIPS64", "GOPPC64", "GORISCV64", "GOWASM":
			return true
		}
		return false
	})
	return append(env, "GOOS=linux", "GOARCH="+arch, "CGO_ENABLED=0", "GOFLAGS=", "GOWORK=off", "GOTOOLCHAIN=local",
		"PWD="+dir)
}

// fixFor reads the go command's complaint and says what it needs.
func fixFor(arch, output string) string {
	has := func(s string) bool { return strings.Contains(output, s) }
	switch {
	case has("dial tcp") || has("i/o timeout") || has("no such host") || has("connection refused") || has("module lookup disabled"):
		return "its modules are neither in the module cache nor could the module proxy be reached: connect once, or set GOPROXY to a proxy that answers"
	case has("requires go >="):
		return "use that Go version or a newer one: put its bin directory first in PATH"
	case has("no space left"):
		return "free some disk space (about 300 MB, most of it Go's own build cache)"
	case has("SECURITY ERROR") || has("checksum mismatch"):
		return "the module proxy gave other bytes than the embedded go.sum names: check GOPROXY"
	case has("GOCACHE") || has("GOMODCACHE") || has("GOPATH"):
		return "set HOME, or GOCACHE and GOMODCACHE, to directories that can be written"
	}
	return "the go command must be able to build a module for linux/" + arch
}

func tail(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return "..." + s[len(s)-n:]
}
