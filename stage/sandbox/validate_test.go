package sandbox_test

import (
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/stagewright/stagewright/platform"
	"github.com/stagewright/stagewright/stage/sandbox"
)

func valid() *sandbox.Spec {
	return &sandbox.Spec{
		Root: sandbox.Root{Lowers: []string{"/lower"}, Upper: "/upper", Work: "/work"},
		Args: []string{"true"},
		Env:  []string{"A=", "B=c=d"},
		Dir:  "/src",
		Mounts: []sandbox.Mount{
			{Type: sandbox.MountBind, Source: "/host", Target: "/in"},
			{Type: sandbox.MountTmpfs, Target: "/tmp"},
			{Type: sandbox.MountFile, Target: "/etc/hosts", Data: []byte("x")},
		},
	}
}

func TestValidate(t *testing.T) {
	if err := valid().Validate(); err != nil {
		t.Fatal(err)
	}
	big := []sandbox.IDRange{{Size: 1}, {Inside: 1, Outside: 1<<32 - 10, Size: 10}}
	for field, edit := range map[string]func(*sandbox.Spec){
		"Root":                   func(s *sandbox.Spec) { s.Root = sandbox.Root{} },
		"Root ":                  func(s *sandbox.Spec) { s.Root.Work = "" },
		"Root.Lowers[0]":         func(s *sandbox.Spec) { s.Root.Lowers[0] = "relative" },
		"Root.Lowers":            func(s *sandbox.Spec) { s.Root.Lowers = make([]string, sandbox.MaxLowers+1) },
		"Root.Upper":             func(s *sandbox.Spec) { s.Root.Upper = "up" },
		"Root.Work":              func(s *sandbox.Spec) { s.Root.Work = "/a\x00b" },
		"Root.IDs":               func(s *sandbox.Spec) { s.Root.IDs.UIDs = []sandbox.IDRange{{Size: 1}} },
		"Root.Idmapped":          func(s *sandbox.Spec) { s.Root.Idmapped = true },
		"Root.IDs.UIDs":          func(s *sandbox.Spec) { s.Root.IDs.UIDs = []sandbox.IDRange{{Inside: 1, Size: 1}} },
		"Root.IDs.GIDs[1]":       func(s *sandbox.Spec) { s.Root.IDs.UIDs, s.Root.IDs.GIDs = big[:1], big },
		"Args":                   func(s *sandbox.Spec) { s.Args = []string{""} },
		"Args[1]":                func(s *sandbox.Spec) { s.Args = []string{"a", "b\x00"} },
		"Env[0]":                 func(s *sandbox.Spec) { s.Env = []string{"=x"} },
		"Env[1]":                 func(s *sandbox.Spec) { s.Env[1] = "B=\x00" },
		"Dir":                    func(s *sandbox.Spec) { s.Dir = "src" },
		"Hostname":               func(s *sandbox.Spec) { s.Hostname = strings.Repeat("h", 65) },
		"Network":                func(s *sandbox.Spec) { s.Network = 9 },
		"User.UID":               func(s *sandbox.Spec) { s.User.UID = 1<<32 - 1 },
		"User.GID":               func(s *sandbox.Spec) { s.User.GID = 1<<32 - 1 },
		"User.Groups":            func(s *sandbox.Spec) { s.User.Groups = make([]uint32, 65537) },
		"User.Groups[1]":         func(s *sandbox.Spec) { s.User.Groups = []uint32{0, 1<<32 - 1} },
		"Mounts[0].Source":       func(s *sandbox.Spec) { s.Mounts[0].Source = "" },
		"Mounts[0].Target":       func(s *sandbox.Spec) { s.Mounts[0].Target = "/x/../" },
		"Mounts[1].Target":       func(s *sandbox.Spec) { s.Mounts[1].Target = "/proc/sys" },
		"Mounts[1].Target ":      func(s *sandbox.Spec) { s.Mounts[1].Target = "tmp" },
		"Mounts[1].Target  ":     func(s *sandbox.Spec) { s.Mounts[1].Target = "/" + strings.Repeat("x", 4096) },
		"Mounts[1].Size":         func(s *sandbox.Spec) { s.Mounts[1].Size = -1 },
		"Mounts[1].Mode":         func(s *sandbox.Spec) { s.Mounts[1].Mode = 0o100644 },
		"Mounts[1].UID":          func(s *sandbox.Spec) { s.Mounts[1].UID = 1<<32 - 1 },
		"Mounts[2].Serve":        func(s *sandbox.Spec) { s.Mounts[2].Type = sandbox.MountSocket },
		"Limits.Memory":          func(s *sandbox.Spec) { s.Limits.Memory = -1 },
		"Limits.Pids":            func(s *sandbox.Spec) { s.Limits.Pids = -1 },
		"Limits.CPU":             func(s *sandbox.Spec) { s.Limits.CPU = 0.001 },
		"Limits.CPU ":            func(s *sandbox.Spec) { s.Limits.CPU = math.NaN() },
		"Limits.Rlimits[0].Name": func(s *sandbox.Spec) { s.Limits.Rlimits = []sandbox.Rlimit{{Name: "rss"}} },
		"Limits.Rlimits[1].Name": func(s *sandbox.Spec) { s.Limits.Rlimits = []sandbox.Rlimit{{Name: "core"}, {Name: "core"}} },
		"Limits.Rlimits[0].Soft": func(s *sandbox.Spec) { s.Limits.Rlimits = []sandbox.Rlimit{{Name: "core", Soft: -1}} },
		"Limits.Rlimits[0]":      func(s *sandbox.Spec) { s.Limits.Rlimits = []sandbox.Rlimit{{Name: "core", Hard: -2}} },
		"Platform":               func(s *sandbox.Spec) { s.Platform = platform.MustParse("windows/amd64") },
		`Emulators["arm64"]`:     func(s *sandbox.Spec) { s.Emulators = map[string]string{"arm64": "qemu"} },
		"Mounts[2].Type":         func(s *sandbox.Spec) { s.Mounts[2].Type = 77 },
		"Mounts[2].Data":         func(s *sandbox.Spec) { s.Mounts[2].Data = make([]byte, sandbox.MaxFileData+1) },
	} {
		s := valid()
		edit(s)
		err := s.Validate()
		e, ok := errors.AsType[*sandbox.InvalidSpecError](err)
		if !ok || e.Field != strings.TrimSpace(field) || e.Reason == "" {
			t.Errorf("%s: got %v", field, err)
		}
	}
	var none *sandbox.Spec
	if none.Validate() == nil {
		t.Error("no Spec at all was accepted")
	}
}
