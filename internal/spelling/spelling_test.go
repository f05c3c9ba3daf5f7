package spelling

import (
	"math/rand/v2"
	"testing"
)

func TestDistance(t *testing.T) {
	for _, test := range []struct {
		a, b        string
		limit, want int
	}{
		{"", "", 3, 0},
		{"", "abc", 3, 3},
		{"", "abc", 2, 3},
		{"same", "same", 0, 0},
		{"linux", "linxu", 2, 1},
		{"amd64", "arm64", 2, 2},
		{"amd64", "riscv64", 2, 3},
		{"version", "verison", 9, 1},
		{"größe", "grösse", 9, 2},
		{"ab", "ba", 9, 1},
		{"abc", "ab", 4, 1},
		{"abc", "xbc", 4, 1},
		{"abcd", "wxyz", 4, 4},
		{"abcdefgh", "", 4, 5},
		{"ca", "abc", 9, 3}, // each character is edited once
	} {
		if got := Distance(test.a, test.b, test.limit); got != test.want {
			t.Errorf("%q to %q, at most %d: %d, want %d", test.a, test.b, test.limit, got, test.want)
		}
	}
}

// TestDistanceIsOne: it is symmetric, 0 for equal names alone, and k edits are at most k.
func TestDistanceIsOne(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	word := func() string {
		b := make([]byte, r.IntN(7))
		for i := range b {
			b[i] = "abc"[r.IntN(3)]
		}
		return string(b)
	}
	for range 5000 {
		a, b := word(), word()
		d := Distance(a, b, 20)
		if d != Distance(b, a, 20) || (d == 0) != (a == b) || d > max(len(a), len(b)) || Distance(a, b, 2) != min(d, 3) {
			t.Fatalf("%q and %q: %d", a, b, d)
		}
	}
}
