package namespaces

import (
	"cmp"
	"encoding/binary"

	"golang.org/x/net/bpf"

	"github.com/stagewright/stagewright/stage/sandbox"
	"github.com/stagewright/stagewright/stage/sandbox/namespaces/internal/child"
)

// configure says to the child what spec says to a Runner.
func configure(s *sandbox.Spec, m machine, id *identity, filter []bpf.RawInstruction) *child.Config {
	without := func(f sandbox.Features) bool { return s.Features&f != 0 }
	initial := m.initial && !id.userNS
	c := &child.Config{
		Lowers:    s.Root.Lowers,
		Upper:     s.Root.Upper,
		Work:      s.Root.Work,
		UserXattr: !initial,
		Hostname:  cmp.Or(s.Hostname, sandbox.DefaultHostname),
		Args:      s.Args,
		Env:       s.Env,
		Dir:       cmp.Or(s.Dir, "/"),
		UID:       s.User.UID,
		GID:       s.User.GID,
		Groups:    s.User.Groups,
		SetGroups: id.setgroups,
		Caps:      capMask(),
		Filter:    encodeFilter(filter),

		System: child.System{
			BindNodes:      !initial || without(sandbox.FeatureDeviceNodes),
			FreshSysfs:     !id.userNS && !without(sandbox.FeatureFreshSysfs) || s.Network == sandbox.NetworkNone,
			Loopback:       s.Network == sandbox.NetworkNone,
			TTYGroup:       has(id.ids.GIDs, 5),
			NoMountSetattr: without(sandbox.FeatureMountSetattr),
		},
		NoVolatile: without(sandbox.FeatureVolatile),
	}
	for i := range s.Mounts {
		c.Mounts = append(c.Mounts, configureMount(&s.Mounts[i]))
	}
	return c
}

func configureMount(m *sandbox.Mount) child.Mount {
	out := child.Mount{
		Source: m.Source, Target: m.Target, ReadOnly: m.ReadOnly,
		Size: m.Size, Mode: m.Mode, UID: m.UID, GID: m.GID, Data: m.Data,
	}
	switch m.Type {
	case sandbox.MountBind:
		out.Kind = child.Bind
	case sandbox.MountTmpfs:
		out.Kind, out.Mode = child.Tmpfs, cmp.Or(m.Mode, 0o1777)
	case sandbox.MountFile:
		out.Kind, out.Mode = child.File, cmp.Or(m.Mode, 0o644)
	case sandbox.MountSocket:
		out.Kind, out.Mode = child.Socket, cmp.Or(m.Mode, 0o600)
	}
	return out
}

// encodeFilter lays the program out as an array of struct sock_filter.
func encodeFilter(prog []bpf.RawInstruction) []byte {
	out := make([]byte, 0, 8*len(prog))
	for _, i := range prog {
		out = binary.NativeEndian.AppendUint16(out, i.Op)
		out = append(out, i.Jt, i.Jf)
		out = binary.NativeEndian.AppendUint32(out, i.K)
	}
	return out
}
