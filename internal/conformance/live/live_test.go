package live

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stagewright/stagewright/internal/conformance"
	"github.com/stagewright/stagewright/internal/conformance/live/buildkitd"
)

var (
	update     = flag.Bool("update", false, "write the goldens")
	keep       = flag.String("keep", "", "directory of a buildkitd that stays running between runs")
	only       = flag.String("case", "", "run only the cases that match this regular expression")
	cases      = flag.String("cases", "../testdata", "directory with cases, bases and golden")
	theirsOnly = flag.Bool("theirs", false, "run BuildKit only")
	jobs       = flag.Int("jobs", 4, "builds at once")
)

func TestMain(m *testing.M) {
	flag.Parse()
	if err := flag.Set("test.parallel", fmt.Sprint(*jobs)); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	os.Exit(m.Run())
}

// bench is what all cases share.
type bench struct {
	daemon  *buildkitd.Daemon
	server  *conformance.Server
	builder *conformance.Builder
	dumper  *conformance.Dumper
	golden  string
}

func TestLive(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("buildkitd with runc needs root")
	}
	wanted, err := regexp.Compile(*only)
	if err != nil {
		t.Fatal(err)
	}
	all, err := conformance.LoadCases(filepath.Join(*cases, "cases"))
	if err != nil {
		t.Fatal(err)
	}
	b := newBench(t)
	for _, c := range all {
		if wanted.MatchString(c.Name) {
			t.Run(c.Name, func(t *testing.T) {
				t.Parallel()
				b.run(t, c)
			})
		}
	}
}

func newBench(t *testing.T) *bench {
	ctx := t.Context()
	bases, err := conformance.LoadBases(ctx, filepath.Join(*cases, "bases"), "")
	if err != nil {
		t.Fatal(err)
	}
	dir := *keep
	if dir == "" {
		dir = t.TempDir()
	} else if dir, err = filepath.Abs(dir); err != nil {
		t.Fatal(err)
	}
	d, err := buildkitd.Start(ctx, dir, *keep != "")
	if err != nil {
		t.Fatal(err)
	}
	if *keep == "" {
		t.Cleanup(d.Stop)
	}
	if err := addDebian(ctx, filepath.Join(dir, "debian"), bases); err != nil {
		t.Logf("cases of Debian's programs are skipped: %v", err)
	}
	handler, err := bases.Serve(ctx)
	if err != nil {
		t.Fatal(err)
	}
	registry, err := serve(d.Registry(), handler)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { registry.Close() })
	server, err := conformance.NewServer(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	dumper := &conformance.Dumper{Bases: bases}
	return &bench{
		daemon: d, server: server, dumper: dumper, golden: filepath.Join(*cases, "golden"),
		builder: &conformance.Builder{Bases: handler, CacheDir: t.TempDir(), Dumper: dumper},
	}
}

func (b *bench) run(t *testing.T, c *conformance.Case) {
	name := strings.ReplaceAll(c.Name, "/", "-")
	dir, err := b.server.Prepare(t.Context(), c, name)
	if missing := (*conformance.MissingProgramError)(nil); errors.As(err, &missing) {
		t.Skip(missing)
	}
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := b.buildKit(t.Context(), c, dir, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	b.server.Translate(name, theirs)
	if c.Fails != "" && theirs.Failure == "" {
		t.Errorf("BuildKit builds it, and the case says that it fails with %q", c.Fails)
	}
	if c.Fails == "" && theirs.Failure != "" {
		t.Errorf("BuildKit fails: %s", theirs.Failure)
	}
	b.compareGolden(t, c, theirs)
	b.compareOurs(t, c, dir, theirs)
}

// compareOurs builds the case with stagewright and compares with what BuildKit made a moment ago.
func (b *bench) compareOurs(t *testing.T, c *conformance.Case, dir string, theirs *conformance.Dump) {
	if *theirsOnly {
		return
	}
	ours, err := b.builder.Dump(t.Context(), c, dir, theirs.Base)
	if err != nil {
		t.Fatal(err)
	}
	b.server.Translate(filepath.Base(dir), ours)
	if !strings.Contains(ours.Failure, c.Fails) {
		t.Errorf("stagewright's message %q does not say %q", ours.Failure, c.Fails)
	}
	if diff := conformance.Diff(theirs, ours, "buildkit   ", "stagewright"); diff != "" {
		t.Errorf("stagewright differs from BuildKit:\n%s", diff)
	}
}

// buildKit is BuildKit's result of a case.
func (b *bench) buildKit(ctx context.Context, c *conformance.Case, dir, out string) (*conformance.Dump, error) {
	images, err := build(ctx, b.daemon, c, dir, out)
	if refused := (*buildError)(nil); errors.As(err, &refused) {
		return &conformance.Dump{Failure: refused.message}, nil
	}
	if err != nil {
		return nil, err
	}
	base, err := b.dumper.BaseOf(images[0])
	if err != nil {
		return nil, err
	}
	return b.dumper.Dump(images, base)
}

// compareGolden compares with the stored golden, or stores it.
func (b *bench) compareGolden(t *testing.T, c *conformance.Case, theirs *conformance.Dump) {
	if c.LiveOnly {
		return
	}
	if *update {
		if t.Failed() {
			return // what is unexpected does not become the measure
		}
		if err := conformance.WriteGolden(b.golden, c, theirs); err != nil {
			t.Fatal(err)
		}
		return
	}
	golden, err := conformance.ReadGolden(b.golden, c)
	if err != nil {
		t.Errorf("%v; -update writes it", err)
		return
	}
	if diff := conformance.Diff(golden, theirs, "golden  ", "buildkit"); diff != "" {
		t.Errorf("BuildKit differs from the golden:\n%s", diff)
	}
}
