package local

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/stagewright/stagewright/internal/tree"
	"github.com/stagewright/stagewright/stage"
)

// pair is what the cache has of a step beside what came out now.
type pair struct {
	s        *session
	step     *stage.Step
	was, now *outcome
}

// mismatches lists what differs, by path.
func (c *pair) mismatches(ctx context.Context, parent *tree.Node) ([]stage.Mismatch, error) {
	var list []stage.Mismatch
	was, err := tree.Apply(parent, c.was.changes)
	if err != nil {
		return nil, err
	}
	now, err := tree.Apply(parent, c.now.changes)
	if err != nil {
		return nil, err
	}
	for _, change := range tree.Diff(was, now) {
		before, after := tree.Lookup(was, change.Path), tree.Lookup(now, change.Path)
		for _, m := range differing(before, after) {
			m.Step, m.Path = c.step, change.Path
			if m.Aspect == "content" {
				m.Old, m.New = c.contents(ctx, change.Path, before, after)
			}
			list = append(list, m)
		}
	}
	if a, b := c.was.Output, c.now.Output; a != nil && b != nil && *a != *b {
		list = append(list, stage.Mismatch{Step: c.step, Aspect: "output", Old: a.String(), New: b.String()})
	}
	return list, nil
}

func (r *outputRecord) String() string {
	return fmt.Sprintf("exit code %d, output %.19v, errors %.19v", r.Code, r.Stdout, r.Stderr)
}

// differing lists the aspects in which two nodes differ.
func differing(a, b *tree.Node) []stage.Mismatch {
	if a == nil || b == nil || a.Kind() != b.Kind() {
		return []stage.Mismatch{{Aspect: "kind", Old: kindName(a), New: kindName(b)}}
	}
	var list []stage.Mismatch
	add := func(aspect, before, after string) {
		if before != after {
			list = append(list, stage.Mismatch{Aspect: aspect, Old: before, New: after})
		}
	}
	add("content", a.Content().String(), b.Content().String())
	add("target", strconv.Quote(a.Target()), strconv.Quote(b.Target()))
	add("device", device(a), device(b))
	m, n := a.Meta(), b.Meta()
	add("mode", fmt.Sprintf("%04o", m.Mode), fmt.Sprintf("%04o", n.Mode))
	add("owner", fmt.Sprintf("%d:%d", m.UID, m.GID), fmt.Sprintf("%d:%d", n.UID, n.GID))
	add("mtime", strconv.FormatInt(m.Mtime, 10), strconv.FormatInt(n.Mtime, 10))
	add("attributes", attributesOf(m), attributesOf(n))
	if len(list) == 0 {
		list = append(list, stage.Mismatch{Aspect: "links", Old: "some names are one file", New: "others"})
	}
	return list
}

func kindName(n *tree.Node) string {
	if n == nil {
		return "nothing"
	}
	return n.Kind().String()
}

func device(n *tree.Node) string {
	major, minor := n.Device()
	return fmt.Sprintf("%d:%d", major, minor)
}

func attributesOf(m tree.Meta) string {
	var list []string
	for _, x := range m.Xattrs {
		list = append(list, fmt.Sprintf("%s=%q", x.Name, x.Value))
	}
	return "[" + strings.Join(list, " ") + "]"
}

// maxCompared bounds how much is read of two files to show where they differ.
const maxCompared = 1 << 20

// contents describes two contents: by the first line that differs, where that is text, and by
// size and digest.
func (c *pair) contents(ctx context.Context, at string, before, after *tree.Node) (was, now string) {
	was, now = sized(before), sized(after)
	old, err := c.read(ctx, c.s.locateCached(ctx, c.step.ID), before)
	if err != nil {
		return was, now
	}
	fresh, err := c.read(ctx, c.s.locateFresh(c.now, at), after)
	if err != nil {
		return was, now
	}
	a, b := firstDifference(old, fresh)
	if a == "" && b == "" {
		return was, now
	}
	return a + " (" + was + ")", b + " (" + now + ")"
}

func sized(n *tree.Node) string {
	return fmt.Sprintf("%d bytes, %.15s…", n.Size(), n.Content().String())
}

func (c *pair) read(_ context.Context, open tree.Opener, n *tree.Node) ([]byte, error) {
	if n.Size() > maxCompared {
		return nil, fmt.Errorf("%d bytes are too many to show", n.Size())
	}
	rc, err := open(n.Content())
	if err != nil {
		return nil, err
	}
	defer rc.Close()
	return io.ReadAll(io.LimitReader(rc, maxCompared))
}

// locateCached opens contents as the cache has them.
func (s *session) locateCached(ctx context.Context, id int) tree.Opener {
	return func(digest tree.Digest) (io.ReadCloser, error) {
		open, err := s.locate(ctx, nil, id, digest)
		if err != nil {
			return nil, err
		}
		return open()
	}
}

// locateFresh opens the file that a Run step has left now.
func (s *session) locateFresh(o *outcome, at string) tree.Opener {
	return func(digest tree.Digest) (io.ReadCloser, error) {
		if !o.Pack.IsZero() {
			return s.packed(o, digest)()
		}
		return snapshotFile(s.apart.snapshots, tree.Digest(o.Snapshot), at)()
	}
}

// firstDifference is the first line that differs, of both, quoted and shortened; nothing when
// it is no text.
func firstDifference(a, b []byte) (was, now string) {
	linesA, linesB := bytes.SplitAfter(a, []byte("\n")), bytes.SplitAfter(b, []byte("\n"))
	for i := range max(len(linesA), len(linesB)) {
		var x, y []byte
		if i < len(linesA) {
			x = linesA[i]
		}
		if i < len(linesB) {
			y = linesB[i]
		}
		if bytes.Equal(x, y) {
			continue
		}
		if !isText(x) || !isText(y) {
			return "", ""
		}
		return shortLine(x), shortLine(y)
	}
	return "", ""
}

func isText(line []byte) bool {
	return utf8.Valid(line) && !bytes.ContainsFunc(line, func(r rune) bool { return !unicode.IsPrint(r) && !unicode.IsSpace(r) })
}

func shortLine(line []byte) string {
	const most = 60
	text := []rune(strings.TrimSuffix(string(line), "\n"))
	if len(text) > most {
		return strconv.Quote(string(text[:most])) + "…"
	}
	return strconv.Quote(string(text))
}
