//go:build linux

package faulttest_test

import (
	"fmt"
	"maps"
	"math"
	"math/bits"
	"math/rand/v2"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// changing are the system calls that leave something on the disk.
const changing = "openat,renameat,renameat2,unlinkat,mkdirat,linkat,symlinkat,fsync,syncfs,utimensat,fchmodat,fchownat,ftruncate,flock,write,pwrite64,copy_file_range,setxattr,lsetxattr,mount,clone,clone3,wait4,exit_group"

// failing are the system calls that a broken file layer fails, with the errors that they are failed with. Those that the Go runtime
// cannot do without, read and write, are not among them; see full_test.go.
var failing = map[string][]string{
	"openat":          {"EIO", "ENOSPC", "EROFS", "EMFILE"},
	"renameat":        {"EIO", "ENOSPC"},
	"renameat2":       {"EIO"},
	"unlinkat":        {"EIO", "EROFS"},
	"mkdirat":         {"EIO", "ENOSPC", "EROFS"},
	"linkat":          {"EIO", "EMLINK"},
	"symlinkat":       {"ENOSPC"},
	"fsync":           {"EIO", "ENOSPC"},
	"syncfs":          {"EIO"},
	"getdents64":      {"EIO"},
	"pread64":         {"EIO"},
	"pwrite64":        {"EIO", "ENOSPC"},
	"newfstatat":      {"EIO"},
	"fstat":           {"EIO"},
	"utimensat":       {"EIO", "EROFS"},
	"fchmodat":        {"EIO", "EROFS"},
	"fchownat":        {"EIO"},
	"ftruncate":       {"EIO", "ENOSPC"},
	"flock":           {"EIO", "ENOLCK"},
	"copy_file_range": {"EIO"},
	"lsetxattr":       {"ENOSPC"},
	"fsetxattr":       {"ENOSPC"},
	"mount":           {"ENOSPC"},
}

// A build is killed as it is about to make its n-th system call of a kind, for every kind and n; the next one is as good as ever.
func testKilledAtCall(t *testing.T, w *world) {
	needsInjection(t, "signal=KILL")
	names := strings.Split(supported()(changing), ",")
	w.eachCall(t, names, func(*rand.Rand, string) string { return "signal=KILL" }, func(*testing.T, string, []answer, error) {})
}

// A system call fails, once or from then on: the build works all the same or says why not, and the next one is as good as ever.
func testFailingCall(t *testing.T, w *world) {
	needsStrace(t)
	names := strings.Split(supported()(strings.Join(slices.Sorted(maps.Keys(failing)), ",")), ",")
	fault := func(r *rand.Rand, name string) string { e := failing[name]; return "error=" + e[r.IntN(len(e))] }
	w.eachCall(t, names, fault, func(t *testing.T, what string, got []answer, err error) {
		for _, a := range got {
			if g := w.goldenOf(t, a.wanted); a.Err == "" && a.Digest != g {
				t.Errorf("%s: WRONG IMAGE %s; golden %s", what, a.Digest, g)
			}
		}
		if err != nil && strings.Contains(err.Error(), "goroutine ") {
			t.Errorf("%s: %v", what, err)
		}
	})
}

// eachCall has one system call go wrong in one build after the other, and builds again after each. In the short form it samples.
func (w *world) eachCall(t *testing.T, names []string, fault func(r *rand.Rand, name string) string, check func(t *testing.T, what string, got []answer, err error)) {
	t.Helper()
	r, began, done, went := chance(0), time.Now(), 0, map[string]int{}
	one := func(r *rand.Rand, g, name string, n int, warm bool) {
		o := &order{World: w, Cache: w.in("cache"), Builds: []wanted{{g, 0}}}
		if err := os.RemoveAll(o.Cache); err != nil {
			t.Fatal(err)
		}
		f := fault(r, name)
		more := r.IntN(2) == 0 && strings.HasPrefix(f, "error")
		if warm {
			got, err := o.run(t)
			w.want(t, o, got, err)
			evict(t, o.Cache, r, "records", 0.5)
			o.Builds[0].Variant = 1
		}
		what := fmt.Sprintf("sample %d of seed %d: %s: %s %d %s, and all after it %t, warm %t", done, *seed, o.Builds[0], name, n, f, more, warm)
		o.Threads = 1
		got, err := o.run(t, inject(name, n, more, f)...)
		check(t, what, got, err)
		o.Threads = 0
		w.wantNoProcess(t)
		again, aerr := o.run(t)
		w.want(t, o, again, aerr)
		w.wantTidy(t, o.Cache)
		if t.Failed() {
			t.Fatalf("%s; it ended with %v %+v", what, err, got)
		}
		done++
		went[outcome(got, err)]++
	}
	if *soak {
		for _, g := range w.shuffled() {
			counts := w.countCalls(t, g, names)
			for _, name := range slices.Sorted(maps.Keys(counts)) {
				for n := 1; n <= counts[name]; n += 1 + n/50 {
					one(chance(1+done), g, name, n, n%3 == 0)
				}
			}
			t.Logf("%s: %d in %v: %v", g, done, time.Since(began).Round(time.Second), went)
		}
		return
	}
	graphs := w.graphs()
	first, counts, began := r.IntN(len(graphs)), map[string]int(nil), time.Now()
	for i := 0; budget(t, began, done); i++ {
		g, r := graphs[(first+i/8)%len(graphs)], chance(1+i)
		if i%8 == 0 {
			since := time.Now()
			counts = w.countCalls(t, g, names)
			began = began.Add(time.Since(since))
		}
		name := names[r.IntN(len(names))]
		// Few threads make many calls. How many exactly is not the same each time, and not to change what is drawn.
		n := int(math.Exp2(r.Float64() * float64(bits.Len(uint(counts[name])))))
		if counts[name] > 0 {
			one(r, g, name, n, r.IntN(3) == 0)
		}
	}
	t.Logf("%d in %v: %v", done, time.Since(began).Round(time.Second), went)
}

// countCalls returns how many calls of each name a thread of an undisturbed build makes, at most.
func (w *world) countCalls(t *testing.T, g string, names []string) map[string]int {
	t.Helper()
	o := &order{World: w, Cache: w.in("counted"), Builds: []wanted{{g, 0}}, Threads: 1}
	calls, got, err := o.traced(t, strings.Join(names, ","))
	w.want(t, o, got, err)
	if err := os.RemoveAll(o.Cache); err != nil {
		t.Fatal(err)
	}
	each, most := map[[2]string]int{}, map[string]int{}
	for _, c := range calls {
		each[[2]string{c.Process, c.Name}]++
		most[c.Name] = max(most[c.Name], each[[2]string{c.Process, c.Name}])
	}
	return most
}

var number = regexp.MustCompile(`\d+`)

func outcome(got []answer, err error) string {
	switch {
	case len(got) == 1 && got[0].Err == "":
		return "built"
	case len(got) == 1:
		return "said so"
	case err != nil && strings.Contains(err.Error(), "killed"):
		return "killed"
	}
	return number.ReplaceAllString(fmt.Sprintf("%.60v", err), "N")
}
