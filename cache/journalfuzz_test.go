package cache

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"testing"
)

// FuzzState reads states: what is read is written as it was, and whatever it says can be collected by.
func FuzzState(f *testing.F) {
	f.Add("")
	f.Add("kind record 1795465199525664518 57344\nrun record 498740 LDXFTNYOT7O5CAZFO6QOMSY3KF 0 1260\nlog log-A 1931\n")
	f.Add("kind blob 0 0\nrun blob 9223372036854775807 A 0 1\n")
	f.Add("kind blob 1 9223372036854775807\nrun blob 2562047 .. 0 1\nkind blob 2 2\n")
	f.Fuzz(func(t *testing.T, lines string) {
		text := stateMagic + lines
		text += fmt.Sprintf("%s%x\n", stateSum, sha256.Sum256([]byte(text)))
		b := &books{dir: t.TempDir(), kinds: map[Kind]*ledger{}, logs: map[string]int64{}}
		b.parse(text)
		again := &books{kinds: map[Kind]*ledger{}, logs: map[string]int64{}}
		again.parse(string(b.text()))
		if !bytes.Equal(b.text(), again.text()) {
			t.Errorf("%q becomes %q", b.text(), again.text())
		}
		for _, l := range b.kinds {
			s := &ledgerSource{of: &many{dir: b.dir}, books: b, ledger: l, period: -1}
			if _, ok, err := s.peek(t.Context()); ok || err != nil {
				t.Errorf("%q: an entry, %v", lines, err)
			}
			s.finish()
		}
	})
}

// FuzzLine reads lines of the journal: what is read is written as it was.
func FuzzLine(f *testing.F) {
	f.Add([]byte("1795465199525664518 4096 0123456789abcdef"))
	f.Add([]byte("-1 0 x"))
	f.Add([]byte("1 -1 x"))
	f.Add([]byte("1 1 ../x"))
	f.Add([]byte("1  x"))
	f.Fuzz(func(t *testing.T, text []byte) {
		n, ok := parseLine(text)
		if !ok {
			return
		}
		again, ok := parseLine(bytes.TrimSuffix(n.appendTo(nil), []byte("\n")))
		if !ok || again != n || bytes.ContainsAny([]byte(n.id), " \n/\\") {
			t.Errorf("%q becomes %v and %v", text, n, again)
		}
	})
}
