package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// grown is a kind of work that has sizes.
type grown struct {
	name string
	make func(dir string, times int) error
	// opened is how many files of the context an unchanged build may open.
	opened int
}

func grownWork() []grown {
	return []grown{
		{"200, 2,000, 20,000 files", func(dir string, times int) error {
			random := newRandom(3)
			for i := range 200 * times {
				if err := write(dir, fmt.Sprintf("d%d/f%d", i%50, i), text(random, 200+random.IntN(1600))); err != nil {
					return err
				}
			}
			return write(dir, "Dockerfile", []byte("FROM scratch\nCOPY . /srv\n"))
		}, 0},
		{"2, 20, 200 MiB in two files", func(dir string, times int) error {
			for i, piece := range []func(int) []byte{func(n int) []byte { return text(newRandom(4), n) }, func(n int) []byte { return noise(newRandom(5), n) }} {
				if err := writePieces(filepath.Join(dir, fmt.Sprint(i)), piece(1<<20), times); err != nil {
					return err
				}
			}
			return write(dir, "Dockerfile", []byte("FROM scratch\nCOPY . /srv\n"))
		}, 0},
		{"30, 300, 3,000 steps in 10, 100, 1,000 stages", func(dir string, times int) error {
			var b, gather strings.Builder
			for i := range 10 * times {
				fmt.Fprintf(&b, "FROM scratch AS s%d\nCOPY file /out/a%d\nCOPY file /out/b%d\n", i, i, i)
				fmt.Fprintf(&gather, "COPY --from=s%d /out /all/\n", i)
			}
			fmt.Fprintf(&b, "FROM scratch AS all\n%sFROM scratch\nCOPY --from=all /all /all\n", gather.String())
			if err := write(dir, "file", []byte("file\n")); err != nil {
				return err
			}
			return write(dir, "Dockerfile", []byte(b.String()))
		}, 0},
	}
}

// writePieces writes a file that has a piece so many times.
func writePieces(path string, piece []byte, times int) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	for range times {
		if _, err := f.Write(piece); err != nil {
			return err
		}
	}
	return f.Close()
}

// growth builds work of growing size as whole processes, from nothing and unchanged, into an archive, and prints how time and peak memory
// grow. It returns how often an unchanged build has opened a file.
func growth(ctx context.Context, dir string, w io.Writer) (missed int, err error) {
	o := filepath.Join(dir, "ours")
	if err := os.MkdirAll(o, 0o755); err != nil {
		return 0, err
	}
	program := &ours{o}
	if err := compile(ctx, filepath.Join(o, "dockerfile"), "github.com/stagewright/stagewright/examples/dockerfile"); err != nil {
		return 0, err
	}
	fmt.Fprintln(w, "\n| whole process, from nothing / unchanged | 1x | 10x | 100x | time grows as | peak memory | opened when unchanged |")
	fmt.Fprintln(w, "|---|---|---|---|---|---|---|")
	for _, g := range grownWork() {
		n, err := g.run(ctx, dir, program, w)
		if err != nil {
			return missed, fmt.Errorf("%s: %w", g.name, err)
		}
		missed += n
	}
	return missed, nil
}

// run measures one kind of work at each size, and prints its line.
func (g grown) run(ctx context.Context, dir string, program *ours, w io.Writer) (missed int, err error) {
	var sizes, fresh, same, peak []float64
	var cells []string
	opened := 0
	for _, times := range []int{1, 10, 100} {
		context := filepath.Join(dir, "grown")
		if err := os.RemoveAll(context); err != nil {
			return 0, err
		}
		if err := os.MkdirAll(context, 0o755); err != nil {
			return 0, err
		}
		if err := g.make(context, times); err != nil {
			return 0, err
		}
		if err := program.reset(ctx); err != nil {
			return 0, err
		}
		j := job{dirs: []string{context}, push: "localhost/grown:1", tar: filepath.Join(dir, "grown.tar")}
		first, err := program.run(ctx, j)
		if err != nil {
			return 0, err
		}
		var second sample
		n, err := opens(context, func() (err error) {
			second, err = program.run(ctx, j)
			return err
		})
		if err != nil {
			return 0, err
		}
		opened = max(opened, n)
		sizes = append(sizes, float64(times))
		fresh, same = append(fresh, float64(first.Wall)), append(same, float64(second.Wall))
		peak = append(peak, float64(first.Peak))
		cells = append(cells, fmt.Sprintf("%s / %s, %d MiB", seconds(first.Wall.Round(time.Millisecond)), seconds(second.Wall.Round(time.Millisecond)), first.Peak>>20))
	}
	verdict := "met"
	if opened > g.opened {
		verdict = fmt.Sprintf("at most %d: **missed**", g.opened)
		missed++
	}
	fmt.Fprintf(w, "| %s | %s | %.2f / %.2f | %.2f | %d: %s |\n", g.name, strings.Join(cells, " | "), exponent(sizes, fresh), exponent(sizes, same), exponent(sizes, peak), opened, verdict)
	return missed, nil
}
