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
	seed    = flag.Uint64("seed", 20261123, "begin here with what is left to chance; 0 takes another one each time")
	each    = flag.Duration("for", 3*time.Second, "how long a test goes on with more samples, without -soak; with -short a third of it")
	hang    = flag.Duration("hang", 2*time.Minute, "how long a child may take, and half a minute more for each of its builds, before it is ended and the test fails")
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
	flag.Parse()
	if *seed == 0 {
		*seed = rand.Uint64()>>1 | 1
	}
	// The children of a killed child become ours, so that none is overlooked.
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		fmt.Fprintln(os.Stderr, "prctl:", err)
		os.Exit(2)
	}
	os.Exit(m.Run())
}

// chance is the source of what a test leaves to chance as a whole, with 0, and in its first, second, ... sample: what one sample takes from it
// does not depend on what became of those before. A run without -seed begins where every other does, so that a machine that is
// trusted with a change does not say one thing today and another tomorrow; make soak looks further.
func chance(sample int) *rand.Rand { return rand.New(rand.NewPCG(*seed, uint64(sample))) }

// budget reports, in the short form, whether a test that began a while ago, and has done so many samples, may go on with more: a few there
// are on the slowest machine. The long form goes on to its end.
func budget(t *testing.T, began time.Time, done int) bool {
	t.Helper()
	short := *each
	if testing.Short() {
		short /= 3
	}
	return !t.Failed() && (*soak || done < 3 || time.Since(began) < short)
}
