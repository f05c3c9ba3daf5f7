//go:build linux

package faulttest_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

var (
	soak    = flag.Bool("soak", false, "all moments, sites and regions, for hours, instead of a sample")
	seed    = flag.Uint64("seed", 0, "begin here with what is left to chance; 0 takes another one each time")
	each    = flag.Duration("for", 3*time.Second, "how long a test goes on with more samples, without -soak; with -short a third of it")
	moments = flag.Int("moments", 1000, "with -soak: how many builds the part Killed kills")
)

// orderEnv turns this binary into a child: its value is the order as JSON.
const orderEnv = "FAULTTEST_ORDER"

func TestMain(m *testing.M) {
	if text := os.Getenv(orderEnv); text != "" {
		var o order
		if err := json.Unmarshal([]byte(text), &o); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(2)
		}
		os.Exit(o.carryOut())
	}
	// The children of a killed child become ours, so that none is overlooked.
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		fmt.Fprintln(os.Stderr, "prctl:", err)
		os.Exit(2)
	}
	os.Exit(m.Run())
}

// chance is the source of what a test leaves to chance.
func chance(t *testing.T) *rand.Rand {
	t.Helper()
	n := *seed
	if n == 0 {
		n = rand.Uint64()>>1 | 1
	}
	t.Logf("seed %d", n)
	return rand.New(rand.NewPCG(n, 0))
}

// budget reports, in the short form, whether a test that began a while ago may go on with more samples; the long form
// goes on to its end.
func budget(t *testing.T, began time.Time) bool {
	t.Helper()
	short := *each
	if testing.Short() {
		short /= 3
	}
	return !t.Failed() && (*soak || time.Since(began) < short)
}
