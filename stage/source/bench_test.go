package source

import (
	"os/exec"
	"strings"
	"testing"
)

// goroot is a real tree of about 15,000 files.
func goroot(b *testing.B) string {
	b.Helper()
	out, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		b.Skip("no Go toolchain on this machine: ", err)
	}
	return strings.TrimSpace(string(out))
}

func benchList(b *testing.B, dir string) {
	d := mustDir(b, dir, DirOptions{})
	n := 0
	b.ReportAllocs()
	for b.Loop() {
		entries, err := d.List(b.Context())
		if err != nil {
			b.Fatal(err)
		}
		n = len(entries)
	}
	b.ReportMetric(float64(n), "files")
}

func benchMemo(b *testing.B, dir string) {
	folder := b.TempDir()
	mustHash(b, mustDir(b, dir, DirOptions{Memo: OpenMemo(folder)}))
	b.ReportAllocs()
	for b.Loop() {
		d := mustDir(b, dir, DirOptions{Memo: OpenMemo(folder)}) // as a new process
		entries, err := d.List(b.Context())
		if err != nil {
			b.Fatal(err)
		}
		if err := d.Hash(b.Context(), pointers(entries)); err != nil {
			b.Fatal(err)
		}
		if d.Stats().Opened != 0 {
			b.Fatalf("%+v", d.Stats())
		}
	}
}

func benchMemoOnly(b *testing.B, dir string) {
	folder := b.TempDir()
	d := mustDir(b, dir, DirOptions{Memo: OpenMemo(folder)})
	mustHash(b, d)
	entries := pointers(mustList(b, d))
	for b.Loop() {
		d.o.Memo = OpenMemo(folder)
		if err := d.Hash(b.Context(), entries); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkListGoroot(b *testing.B)     { benchList(b, goroot(b)) }
func BenchmarkListMemoGoroot(b *testing.B) { benchMemo(b, goroot(b)) }
func BenchmarkMemoGoroot(b *testing.B)     { benchMemoOnly(b, goroot(b)) }
func BenchmarkList50k(b *testing.B)        { benchList(b, synthetic(b, 50_000)) }
func BenchmarkListMemo50k(b *testing.B)    { benchMemo(b, synthetic(b, 50_000)) }
func BenchmarkMemo50k(b *testing.B)        { benchMemoOnly(b, synthetic(b, 50_000)) }

func BenchmarkListGorootIgnore(b *testing.B) {
	d := mustDir(b, goroot(b), DirOptions{Ignore: []string{"**/*.log", "**/node_modules", "*.md", "dist", ".git", "**/testdata/**/*.bin", "!**/keep.bin", "**/*_tmp*"}})
	for b.Loop() {
		if _, err := d.List(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkHashGorootCold(b *testing.B) {
	d := mustDir(b, goroot(b), DirOptions{})
	entries := pointers(mustList(b, d))
	for b.Loop() {
		if err := d.Hash(b.Context(), entries); err != nil {
			b.Fatal(err)
		}
	}
}
