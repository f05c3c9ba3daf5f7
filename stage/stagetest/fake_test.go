package stagetest_test

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// fakeT is a testing.TB that is looked at afterwards: what a test would have been told.
type fakeT struct {
	testing.TB // nil: what is not below is not used
	ctx        context.Context
	stop       context.CancelFunc

	mu       sync.Mutex
	out      strings.Builder // what go test would show
	errors   strings.Builder // of that, without logs
	failed   bool
	skipped  bool
	dirs     []string
	cleanups []func()
}

// try runs a test on a TB of its own, with its cleanups.
func try(test func(t testing.TB)) *fakeT {
	f := &fakeT{}
	f.ctx, f.stop = context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer f.cleanUp()
		test(f)
	}()
	<-done
	return f
}

func (f *fakeT) cleanUp() {
	f.stop()
	for len(f.cleanups) > 0 {
		last := f.cleanups[len(f.cleanups)-1]
		f.cleanups = f.cleanups[:len(f.cleanups)-1]
		last()
	}
	for _, dir := range f.dirs {
		os.RemoveAll(dir)
	}
}

func (f *fakeT) Helper()                  {}
func (f *fakeT) Context() context.Context { return f.ctx }
func (f *fakeT) Cleanup(c func())         { f.cleanups = append(f.cleanups, c) }
func (f *fakeT) Failed() bool             { f.mu.Lock(); defer f.mu.Unlock(); return f.failed }

func (f *fakeT) TempDir() string {
	dir, err := os.MkdirTemp("", "stagetest-")
	if err != nil {
		f.Fatalf("%v", err)
	}
	f.dirs = append(f.dirs, dir)
	return dir
}

func (f *fakeT) Logf(format string, args ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	fmt.Fprintf(&f.out, format+"\n", args...)
}

func (f *fakeT) Errorf(format string, args ...any) {
	f.Logf(format, args...)
	f.mu.Lock()
	defer f.mu.Unlock()
	fmt.Fprintf(&f.errors, format+"\n", args...)
	f.failed = true
}

func (f *fakeT) Fatalf(format string, args ...any) {
	f.Errorf(format, args...)
	runtime.Goexit()
}

func (f *fakeT) Skipf(format string, args ...any) {
	f.Logf(format, args...)
	f.skipped = true
	runtime.Goexit()
}

// String is what go test would show.
func (f *fakeT) String() string { f.mu.Lock(); defer f.mu.Unlock(); return f.stable(f.out.String()) }

// Errors is what makes the test fail.
func (f *fakeT) Errors() string { f.mu.Lock(); defer f.mu.Unlock(); return f.stable(f.errors.String()) }

// stable makes a text the same in every run: without times, ports and spaces that go-cmp puts in at random.
func (f *fakeT) stable(text string) string {
	text = strings.ReplaceAll(text, "\u00a0", " ")
	text = regexp.MustCompile(`127\.0\.0\.1:\d+`).ReplaceAllString(text, "HOST")
	text = regexp.MustCompile(`\d+(\.\d+)?(ns|µs|ms|s)\b`).ReplaceAllString(text, "TIME")
	for _, dir := range f.dirs {
		text = strings.ReplaceAll(text, filepath.ToSlash(dir), "DIR")
	}
	return text
}

// show runs the test of an example and prints why it fails; of a test that passes nothing.
func show(test func(t testing.TB)) {
	fmt.Print(try(test).Errors())
}

// lyingLayer has other bytes than its digest.
type lyingLayer struct{}

func (lyingLayer) Digest() (v1.Hash, error)            { return hashOf("compressed"), nil }
func (lyingLayer) DiffID() (v1.Hash, error)            { return hashOf("tar"), nil }
func (lyingLayer) Size() (int64, error)                { return 4, nil }
func (lyingLayer) MediaType() (types.MediaType, error) { return types.OCIUncompressedLayer, nil }
func (lyingLayer) Compressed() (io.ReadCloser, error) {
	return io.NopCloser(strings.NewReader("lies")), nil
}
func (lyingLayer) Uncompressed() (io.ReadCloser, error) {
	return io.NopCloser(strings.NewReader("lies")), nil
}

func hashOf(s string) v1.Hash {
	h, _, _ := v1.SHA256(strings.NewReader(s))
	return h
}
