package cache

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
)

// The state is a text: a first line, a line for each ledger, each of its runs and each log that was set
// aside, and a last line with the SHA-256 of what is before it.
const (
	stateMagic = "stagewright journal 1\n"
	stateSum   = "sha256 "
)

func (b *books) text() []byte {
	var out strings.Builder
	out.WriteString(stateMagic)
	for _, k := range slices.Sorted(maps.Keys(b.kinds)) {
		l := b.kinds[k]
		fmt.Fprintf(&out, "kind %s %d %d\n", k, l.scanned, l.bytes)
		for _, p := range slices.Sorted(maps.Keys(l.runs)) {
			for _, r := range l.runs[p] {
				fmt.Fprintf(&out, "run %s %d %s %d %d\n", k, p, r.name, r.offset, r.size)
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(b.logs)) {
		fmt.Fprintf(&out, "log %s %d\n", name, b.logs[name])
	}
	sum := sha256.Sum256([]byte(out.String()))
	return fmt.Appendf([]byte(out.String()), "%s%s\n", stateSum, hex.EncodeToString(sum[:]))
}

// parse reads a state into empty books. They stay empty if it is none.
func (b *books) parse(text string) {
	at := strings.LastIndex(text, stateSum)
	if !strings.HasPrefix(text, stateMagic) || at < 0 {
		return
	}
	sum := sha256.Sum256([]byte(text[:at]))
	if text[at:] != stateSum+hex.EncodeToString(sum[:])+"\n" {
		return
	}
	for l := range strings.Lines(text[len(stateMagic):at]) {
		if !b.parseLine(strings.Fields(l)) {
			b.kinds, b.logs = map[Kind]*ledger{}, map[string]int64{}
			return
		}
	}
}

func (b *books) parseLine(f []string) bool {
	switch {
	case len(f) == 4 && f[0] == "kind":
		n, ok := numbers(f[2:])
		if !ok || !validKind(Kind(f[1])) {
			return false
		}
		l := newLedger(Kind(f[1]))
		l.scanned, l.bytes = n[0], n[1]
		b.kinds[l.kind] = l
		return true
	case len(f) == 6 && f[0] == "run":
		n, ok := numbers([]string{f[2], f[4], f[5]})
		l := b.kinds[Kind(f[1])]
		if !ok || l == nil || !validID(f[3]) || n[1] > n[2] || n[0] > periodOf(math.MaxInt64) {
			return false
		}
		l.runs[n[0]] = append(l.runs[n[0]], &run{name: f[3], offset: n[1], size: n[2]})
		return true
	case len(f) == 3 && f[0] == "log":
		n, ok := numbers(f[2:])
		if !ok || !validID(f[1]) {
			return false
		}
		b.logs[f[1]] = n[0]
		return true
	}
	return false
}

// numbers parses numbers of which none is negative.
func numbers(words []string) (out []int64, ok bool) {
	for _, w := range words {
		n, err := strconv.ParseInt(w, 10, 64)
		if err != nil || n < 0 {
			return nil, false
		}
		out = append(out, n)
	}
	return out, true
}

// save writes what is new into runs, replaces the state, and removes what that no longer needs. When
// it fails the old state stands, and all that it names is there.
func (b *books) save() error {
	if err := os.MkdirAll(b.path(journalRuns), 0o700); err != nil {
		return err
	}
	for k, l := range b.kinds {
		if l.damaged {
			delete(b.kinds, k)
			continue
		}
		for p := range l.fresh {
			if err := b.fold(l, p); err != nil {
				return err
			}
		}
		l.bytes = max(0, l.bytes)
		b.dropRead(l)
	}
	temp := b.path(journalState + "-" + rand.Text())
	if err := os.WriteFile(temp, b.text(), 0o600); err != nil {
		return errors.Join(err, os.Remove(temp))
	}
	if err := os.Rename(temp, b.path(journalState)); err != nil {
		return errors.Join(err, os.Remove(temp))
	}
	b.sweep()
	return nil
}

// dropRead forgets the runs that were read to the end.
func (b *books) dropRead(l *ledger) {
	for p, runs := range l.runs {
		l.runs[p] = slices.DeleteFunc(runs, func(r *run) bool { return r.offset >= r.size })
		if len(l.runs[p]) == 0 {
			delete(l.runs, p)
		}
	}
}

// sweep removes logs that were read and will not grow, runs that no ledger has, and states that were
// not finished. What cannot be removed is tried again by the next one.
func (b *books) sweep() {
	for _, name := range b.stale {
		_ = os.Remove(name)
	}
	named := map[string]bool{}
	for _, l := range b.kinds {
		for _, runs := range l.runs {
			for _, r := range runs {
				named[r.name] = true
			}
		}
	}
	_ = eachName(b.path(journalRuns), func(e fs.DirEntry) error {
		if !named[e.Name()] {
			_ = os.Remove(b.path(journalRuns, e.Name()))
		}
		return nil
	})
	_ = eachName(b.dir, func(e fs.DirEntry) error {
		if strings.HasPrefix(e.Name(), journalState+"-") {
			_ = os.Remove(b.path(e.Name()))
		}
		return nil
	})
}
