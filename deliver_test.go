package stagewright_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stagewright/stagewright"
	"github.com/stagewright/stagewright/cache"
	"github.com/stagewright/stagewright/image"
	"github.com/stagewright/stagewright/image/archive"
	"github.com/stagewright/stagewright/image/layout"
	"github.com/stagewright/stagewright/stage"
)

// TestSinksSideBySide has each sink wait for the other: one after the other they would wait for ever.
func TestSinksSideBySide(t *testing.T) {
	broken := errors.New("broken")
	here, there := make(chan bool), make(chan bool)
	meet := func(mine, other chan bool, err error) image.Sink {
		return image.SinkFunc(func(ctx context.Context, a image.Artifact) error {
			close(mine)
			select {
			case <-other:
				return err
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		})
	}
	dir := t.TempDir()
	_, err := stagewright.Build(t.Context(), stage.Scratch().File("/f", "x"), stagewright.Options{
		Store: cache.NewMemory(), Sinks: []image.Sink{meet(here, there, broken), meet(there, here, nil), layout.Dir(dir+"/oci", "a:1")},
	})
	if !errors.Is(err, broken) || !strings.Contains(err.Error(), "sink 0 (image.SinkFunc)") {
		t.Errorf("%v", err)
	}
	if _, err := layout.Read(dir+"/oci", "a:1"); err != nil {
		t.Errorf("a sink that did not fail: %v", err)
	}
}

// TestDeliveries looks at what sinks say, in events and afterwards.
func TestDeliveries(t *testing.T) {
	dir := t.TempDir()
	var busy atomic.Int32
	started, finished := map[int]string{}, map[int]string{}
	res, err := stagewright.Build(t.Context(), stage.Scratch().File("/f", "x"), stagewright.Options{
		Store: cache.NewMemory(),
		Sinks: []image.Sink{archive.OCI(dir+"/oci.tar", "a:1"), layout.Dir(dir+"/oci", "a:1")},
		Progress: func(e stage.Event) {
			if busy.Add(1) != 1 {
				t.Error("two events at once")
			}
			defer busy.Add(-1)
			switch e := e.(type) {
			case stage.SinkStarted:
				started[e.Index] = e.Name
			case stage.SinkFinished:
				finished[e.Index] = e.Sink
			}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer res.Close()
	for i, d := range res.Deliveries() {
		if want := []string{"OCI archive " + dir + "/oci.tar", "OCI layout " + dir + "/oci"}[i]; d.Sink != want || started[i] != want || finished[i] != want || d.How == "" {
			t.Errorf("delivery %d: %+v, started %q, finished %q, want %q", i, d, started[i], finished[i], want)
		}
	}
	if len(res.Deliveries()) != 2 {
		t.Errorf("%+v", res.Deliveries())
	}
}

// TestSinkPanics: the panic comes out of Build, where a caller can recover it, and the cache is closed.
func TestSinkPanics(t *testing.T) {
	dir := t.TempDir()
	defer func() {
		if p := recover(); p != "mine" {
			t.Errorf("recovered %v", p)
		}
		disk, err := cache.OpenDisk(dir, cache.DiskOptions{})
		if err != nil {
			t.Fatal(err)
		}
		disk.Close()
	}()
	sink := image.SinkFunc(func(context.Context, image.Artifact) error { panic("mine") })
	_, _ = stagewright.Build(t.Context(), stage.Scratch().File("/f", "x"), stagewright.Options{CacheDir: dir, Sinks: []image.Sink{sink}})
	t.Error("no panic")
}
