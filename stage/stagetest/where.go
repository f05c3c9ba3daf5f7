package stagetest

import (
	"context"
	"net"
	"net/url"
	"strings"

	"github.com/stagewright/stagewright"
	"github.com/stagewright/stagewright/stage"
)

// inMemory reports whether a stage is built without any cache: whether all that it takes is files of this machine, so that
// building it costs less than a cache on disk would. Mistakes are the build's to report, and need no cache either.
func inMemory(ctx context.Context, target stage.Stage, o stagewright.Options) bool {
	if remote(o.Context) {
		return false
	}
	g, err := stage.Compile(ctx, []stage.Stage{target}, stage.Options{
		Args: o.Args, Platforms: o.Platforms, Stages: o.Stages, OnBuild: o.OnBuild, Run: o.Run,
	})
	if err != nil {
		return true
	}
	for _, step := range g.Steps() {
		switch op := step.Op.(type) {
		case *stage.RunOp:
			return false
		case *stage.BaseOp:
			if op.Ref != "" && !onThisMachine(host(op.Ref)) {
				return false
			}
		case *stage.CopyOp:
			if remote(op.From) {
				return false
			}
		}
	}
	return true
}

// remote reports whether a source comes over the network, or is a shell, which takes longer to compress than to find.
func remote(s stage.Source) bool {
	switch s := s.(type) {
	case stage.HTTPSource:
		u, err := url.Parse(s.URL)
		return err != nil || !onThisMachine(u.Host)
	case stage.GitSource:
		return true
	case stage.FSSource:
		_, shell := s.FS.(shellFiles)
		return shell
	}
	return false
}

// host is the first part of a reference, which may be no host: then it is none of this machine.
func host(ref string) string {
	h, _, _ := strings.Cut(ref, "/")
	return h
}

// onThisMachine reports whether "host:port" is a loopback address, where the registries of tests are. What comes from there and
// is gone with the test has no place in the user's cache.
func onThisMachine(hostport string) bool {
	h, _, err := net.SplitHostPort(hostport)
	if err != nil {
		return false
	}
	ip := net.ParseIP(h)
	return h == "localhost" || ip != nil && ip.IsLoopback()
}
