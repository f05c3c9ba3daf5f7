package main

import (
	"bufio"
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/validate"
)

// layers pulls an image as a client does, and returns the digests of its layers.
func layers(t *testing.T, ref string) ([]v1.Hash, error) {
	t.Helper()
	r, err := name.ParseReference(ref)
	if err != nil {
		t.Fatal(err)
	}
	img, err := remote.Image(r, remote.WithContext(t.Context()))
	if err != nil {
		return nil, err
	}
	if err := validate.Image(img); err != nil {
		t.Fatal(err)
	}
	m, err := img.Manifest()
	if err != nil {
		t.Fatal(err)
	}
	var digests []v1.Hash
	for _, l := range m.Layers {
		digests = append(digests, l.Digest)
	}
	return digests, nil
}

// TestRun pulls, edits a file, pulls again: the layer of the file is another one, the others are the same.
func TestRun(t *testing.T) {
	dir := t.TempDir()
	page := filepath.Join(dir, "site", "index.html")
	write := func(text string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(page), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(page, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("one")
	ctx, stop := context.WithCancel(t.Context())
	output, w := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		ended <- run(ctx, "127.0.0.1:0", dir, t.TempDir(), w)
		w.Close()
	}()
	lines := bufio.NewScanner(output)
	if !lines.Scan() {
		t.Fatal(<-ended)
	}
	_, address, _ := strings.Cut(lines.Text(), " at ")
	failures := make(chan string, 1)
	go func() {
		var all strings.Builder
		for lines.Scan() {
			all.WriteString(lines.Text())
		}
		failures <- all.String()
	}()

	one, err := layers(t, address+"/site:latest")
	if err != nil {
		t.Fatal(err)
	}
	write("two, longer")
	two, err := layers(t, address+"/site:latest")
	if err != nil {
		t.Fatal(err)
	}
	if len(one) != 2 || len(two) != 2 || one[0] != two[0] || one[1] == two[1] {
		t.Errorf("the layers are %v, and after an edit %v", one, two)
	}
	if _, err := layers(t, address+"/nothing"); err == nil || !strings.Contains(err.Error(), "MANIFEST_UNKNOWN: no such image: there is no directory nothing") {
		t.Errorf("an unknown name: %v", err)
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if got := <-failures; got != "nothing:latest: no such image: there is no directory nothing" {
		t.Errorf("it says of failures: %q", got)
	}
}
