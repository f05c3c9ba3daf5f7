package conformance_test

import (
	"bytes"
	"errors"
	"flag"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/stagewright/stagewright/internal/conformance"
	"github.com/stagewright/stagewright/stage/sandbox"
	"github.com/stagewright/stagewright/stage/sandbox/namespaces"
)

var (
	only = flag.String("case", "", "run only the cases that match this regular expression")
	data = flag.String("cases", "testdata", "directory with cases, bases and golden")
)

// Every case gives what BuildKit made of it.
func TestGoldens(t *testing.T) {
	wanted, err := regexp.Compile(*only)
	if err != nil {
		t.Fatal(err)
	}
	cases, err := conformance.LoadCases(filepath.Join(*data, "cases"))
	if err != nil {
		t.Fatal(err)
	}
	ids, err := caseList(filepath.Join(*data, "needsroot.txt"))
	if err != nil {
		t.Fatal(err)
	}
	r := newRunner(t)
	for _, c := range cases {
		if c.LiveOnly || !wanted.MatchString(c.Name) {
			continue
		}
		t.Run(c.Name, func(t *testing.T) {
			t.Parallel()
			if os.Geteuid() != 0 && slices.Contains(ids, c.Name) {
				t.Skip("a step has several users, or reads what only root may: an ordinary user's sandbox has one id")
			}
			r.run(t, c)
		})
	}
}

// caseList reads the names of cases: those that need root. A file that is not there lists none: -cases can lead anywhere.
func caseList(path string) ([]string, error) {
	text, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	return strings.Fields(string(text)), nil
}

type runner struct {
	server    *conformance.Server
	builder   *conformance.Builder
	noSandbox error
}

func newRunner(t *testing.T) *runner {
	bases, err := conformance.LoadBases(t.Context(), filepath.Join(*data, "bases"), "")
	if err != nil {
		t.Fatal(err)
	}
	handler, err := bases.Serve(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	server, err := conformance.NewServer(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	return &runner{
		server:    server,
		builder:   &conformance.Builder{Bases: handler, CacheDir: t.TempDir(), Dumper: &conformance.Dumper{Bases: bases}},
		noSandbox: sandbox.Probe(t.Context(), namespaces.New(namespaces.Options{})),
	}
}

func (r *runner) run(t *testing.T, c *conformance.Case) {
	if bytes.Contains(c.Dockerfile, []byte("RUN")) {
		if r.noSandbox != nil {
			t.Skipf("no sandbox on this machine: %v", r.noSandbox)
		}
		if runtime.GOARCH != "amd64" {
			t.Skip("the golden ran a program for amd64")
		}
	}
	name := strings.ReplaceAll(c.Name, "/", "-")
	dir, err := r.server.Prepare(t.Context(), c, name)
	if missing := (*conformance.MissingProgramError)(nil); errors.As(err, &missing) || errors.Is(err, errors.ErrUnsupported) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	golden, err := conformance.ReadGolden(filepath.Join(*data, "golden"), c)
	if err != nil {
		t.Fatal(err)
	}
	ours, err := r.builder.Dump(t.Context(), c, dir, golden.Base)
	if err != nil {
		t.Fatal(err)
	}
	r.server.Translate(name, ours)
	if !strings.Contains(ours.Failure, c.Fails) {
		t.Errorf("the message %q does not say %q", ours.Failure, c.Fails)
	}
	if diff := conformance.Diff(golden, ours, "buildkit   ", "stagewright"); diff != "" {
		t.Errorf("%s\n%s", c.Doc, diff)
	}
}
