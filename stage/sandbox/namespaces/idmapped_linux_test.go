package namespaces_test

import (
	"errors"
	"testing"

	"github.com/stagewright/stagewright/stage/sandbox"
	"github.com/stagewright/stagewright/stage/sandbox/namespaces"
	"github.com/stagewright/stagewright/stage/sandbox/sandboxtest"
)

// otherIDs are what ids are on the host in these tests.
var otherIDs = sandbox.IDs{
	UIDs: []sandbox.IDRange{{Outside: 1 << 30, Size: 1 << 30}},
	GIDs: []sandbox.IDRange{{Outside: 1 << 30, Size: 1 << 30}},
}

// canIdmap reports whether files can keep their ids here. Where they cannot, the error must say
// why, and what to do.
func canIdmap(t *testing.T) bool {
	t.Helper()
	err := sandbox.CheckIdmapped(t.Context(), namespaces.New(namespaces.Options{Dir: t.TempDir()}), otherIDs)
	if err == nil {
		return true
	}
	if u, ok := errors.AsType[*sandbox.UnavailableError](err); !ok || u.Cause == "" || u.Fix == "" {
		t.Errorf("%#v names no cause or no fix", err)
	}
	t.Log(err)
	return false
}

// TestConformanceIdmapped: everything that a Runner promises holds for processes that are others on the host.
func TestConformanceIdmapped(t *testing.T) {
	if canIdmap(t) {
		sandboxtest.Test(t, newRunner, sandboxtest.Options{IDs: otherIDs, Idmapped: true})
	}
}
