package main

import (
	"errors"
	"testing"
	"time"

	"github.com/stagewright/stagewright/image/registry"
	"github.com/stagewright/stagewright/stage"
	"github.com/stagewright/stagewright/stage/stagetest"
)

// good is the image that has nothing wrong with it. Others are made from it.
var good = stage.Scratch().File("/app", "a program").Label(versionLabel, "1.2").User("1000")

func TestCheck(t *testing.T) {
	reg := stagetest.Registry(t) // in memory, gone with the test
	client := registry.NewClient(registry.Options{})
	for name, test := range map[string]struct {
		image         stage.Stage
		version, want string
	}{
		"good":        {good, "1.2", ""},
		"root":        {good.User("root"), "1.2", " runs as root"},
		"unversioned": {good.UnsetLabel(versionLabel), "", " has no label " + versionLabel},
	} {
		t.Run(name, func(t *testing.T) {
			reg.In(t).Push(name+":1", test.image) // built in a millisecond, and pushed
			version, err := check(t.Context(), client, reg.Ref(name+":1"))
			if test.want != "" {
				test.want = reg.Ref(name+":1") + test.want
			}
			if version != test.version || message(err) != test.want {
				t.Errorf("check says %q, %v; want %q, %s", version, err, test.version, test.want)
			}
		})
	}
}

// A check costs two requests for documents: no layer is downloaded.
func TestCheckDownloadsNoLayer(t *testing.T) {
	reg := stagetest.Registry(t)
	reg.Push("app:1", good)
	if _, err := check(t.Context(), registry.NewClient(registry.Options{}), reg.Ref("app:1")); err != nil {
		t.Fatal(err)
	}
	if manifests, blobs := reg.Count("GET", "/manifests/"), reg.Count("GET", "/blobs/"); manifests != 1 || blobs != 1 {
		t.Errorf("%d manifests and %d blobs were fetched: %v", manifests, blobs, reg.Requests())
	}
}

// A registry that is slow and wants a password: the error says so.
func TestCheckWithoutPassword(t *testing.T) {
	reg := stagetest.Registry(t)
	reg.Push("app:1", good)
	reg.Set(stagetest.Login("ci", "secret"), stagetest.Slow(time.Millisecond))
	_, err := check(t.Context(), registry.NewClient(registry.Options{}), reg.Ref("app:1"))
	if !errors.Is(err, registry.ErrUnauthorized) {
		t.Errorf("the error is %v", err)
	}
}

func message(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
