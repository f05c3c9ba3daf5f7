package platform_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stagewright/stagewright/platform"
)

func TestParse(t *testing.T) {
	for _, c := range []struct {
		in, out string // out is the canonical form, or after "!" a part of the error
	}{
		{"linux/amd64", "linux/amd64"},
		{"linux/amd64/v1", "linux/amd64"},
		{"linux/amd64/v3", "linux/amd64/v3"},
		{"Linux/X86_64", "linux/amd64"},
		{"linux/aarch64", "linux/arm64"},
		{"linux/arm64/v8", "linux/arm64"},
		{"linux/arm64/v9", "linux/arm64/v9"},
		{"linux/arm", "linux/arm/v7"},
		{"linux/arm/7", "linux/arm/v7"},
		{"linux/arm/v6", "linux/arm/v6"},
		{"linux/armhf", "linux/arm/v7"},
		{"linux/armel", "linux/arm/v6"},
		{"linux/i386", "linux/386"},
		{"macos/arm64", "darwin/arm64"},
		{"windows(10.0.17763.1)/amd64", "windows(10.0.17763.1)/amd64"},
		{"wasip1/wasm", "wasip1/wasm"},
		{"linux/riscv64/rva22u64", "linux/riscv64/rva22u64"},

		{"", "!linux/amd64"},
		{"linux", `!names no architecture; write "linux/amd64", say`},
		{"ARM64", `!names no operating system; write "linux/arm64"`},
		{"linux/amd46", `!unknown architecture "amd46"; did you mean "amd64"?`},
		{"linux/arm46", `!did you mean "arm64"?`},
		{"linus/amd64", `!unknown operating system "linus"; did you mean "linux"?`},
		{"linux/sh4", "!known are amd64, arm64"},
		{"linux/arm/v9", `!unknown variant of arm "v9"; did you mean "v5"?`},
		{"linux/386/v2", "!has no variants"},
		{"linux/amd64/v9", "!unknown variant of amd64"},
		{"linux/amd64/v2/x", "!not of the form"},
		{"linux//v2", "!not of the form"},
		{"linux/*", "!not of the form"},
		{"linux/amd64,linux/arm64", "!"},
		{"linux/" + strings.Repeat("a", 1<<16), "!unknown architecture"},
		{"a\x00/b", "!not of the form"},
	} {
		p, err := platform.Parse(c.in)
		if want, bad := strings.CutPrefix(c.out, "!"); bad {
			var perr *platform.ParseError
			if !errors.As(err, &perr) || !strings.Contains(err.Error(), want) {
				t.Errorf("Parse(%.40q) = %v, %v; want a ParseError with %q", c.in, p, err, want)
			}
			continue
		}
		if err != nil || p.String() != c.out {
			t.Errorf("Parse(%q) = %v, %v; want %s", c.in, p, err, c.out)
			continue
		}
		if again, err := platform.Parse(p.String()); again != p || err != nil {
			t.Errorf("Parse(%q) = %#v, %v; want %#v again", p.String(), again, err, p)
		}
		if p.Normalize() != p {
			t.Errorf("%v is not canonical", p)
		}
	}
}

func TestHost(t *testing.T) {
	h := platform.Host()
	if h != h.Normalize() || h.IsZero() {
		t.Errorf("Host() = %#v is not canonical", h)
	}
	if p, err := platform.Parse(h.String()); p != h || err != nil {
		t.Errorf("Parse(%q) = %#v, %v; want Host() %#v", h.String(), p, err, h)
	}
}

func TestZero(t *testing.T) {
	var zero platform.Platform
	if !zero.IsZero() || zero.Normalize() != zero || zero.String() != "" || zero.Satisfies(zero) {
		t.Errorf("zero Platform: Normalize %#v, String %q", zero.Normalize(), zero)
	}
}

func TestSatisfies(t *testing.T) {
	for _, c := range []struct {
		image, want string
		ok          bool
	}{
		{"linux/amd64", "linux/amd64", true},
		{"linux/amd64", "windows/amd64", false},
		{"linux/amd64", "linux/arm64", false},
		{"linux/amd64", "linux/amd64/v3", true},
		{"linux/amd64/v3", "linux/amd64/v2", false},
		{"linux/386", "linux/amd64", false},
		{"linux/arm/v7", "linux/arm64", false},
		{"linux/arm/v5", "linux/arm/v7", true},
		{"linux/arm/v7", "linux/arm/v6", false},
		{"linux/arm64", "linux/arm64/v9", true},
		{"linux/arm64/v8.5", "linux/arm64/v9", true},
		{"linux/arm64/v8.6", "linux/arm64/v9", false},
		{"linux/arm64/v8.6", "linux/arm64/v9.1", true},
		{"linux/arm64/v9", "linux/arm64", false},
		{"linux/riscv64", "linux/riscv64/rva22u64", true},
		{"linux/riscv64/rva22u64", "linux/riscv64", false},
		{"windows(10.0.17763.1234)/amd64", "windows/amd64", true},
		{"windows/amd64", "windows(10.0.17763)/amd64", true},
		{"windows(10.0.17763.1234)/amd64", "windows(10.0.17763)/amd64", true},
		{"windows(10.0.177631)/amd64", "windows(10.0.17763)/amd64", false},
	} {
		if got := platform.MustParse(c.image).Satisfies(platform.MustParse(c.want)); got != c.ok {
			t.Errorf("%s satisfies %s: %v, want %v", c.image, c.want, got, c.ok)
		}
	}
}

func TestSatisfiesTakesAnySpelling(t *testing.T) {
	image := platform.Platform{OS: "Linux", Architecture: "aarch64", Variant: "v8"}
	if !image.Satisfies(platform.MustParse("linux/arm64")) {
		t.Error("linux/aarch64/v8 does not satisfy linux/arm64")
	}
}

func TestBest(t *testing.T) {
	for _, c := range []struct {
		want, have string
		best       int
	}{
		{"linux/amd64", "linux/arm64,linux/amd64", 1},
		{"linux/s390x", "linux/arm64,linux/amd64", -1},
		{"linux/arm/v7", "linux/arm/v5,linux/arm/v6,linux/arm64", 1},
		{"linux/arm/v7", "linux/arm/v5,linux/arm/v7,linux/arm/v6", 1},
		{"linux/amd64/v4", "linux/amd64,linux/amd64/v3,linux/amd64/v2", 1},
		{"linux/amd64", "linux/amd64/v3,linux/amd64/v2", -1},
		{"linux/arm64/v9", "linux/arm64,linux/arm64/v8.2", 1},
		{"windows(10.0.20348)/amd64", "windows(10.0.17763)/amd64,windows/amd64,windows(10.0.20348)/amd64", 2},
	} {
		var have []platform.Platform
		for s := range strings.SplitSeq(c.have, ",") {
			have = append(have, platform.MustParse(s))
		}
		best, ok := platform.Best(platform.MustParse(c.want), have)
		if best != c.best || ok != (c.best >= 0) {
			t.Errorf("Best(%s, %s) = %d, %v; want %d", c.want, c.have, best, ok, c.best)
		}
	}
}

func TestBestTakesTheFirstOfEquals(t *testing.T) {
	amd64 := platform.MustParse("linux/amd64")
	unknown := platform.Platform{OS: "unknown", Architecture: "unknown"} // as attestations are listed
	if best, ok := platform.Best(amd64, []platform.Platform{unknown, amd64, amd64}); best != 1 || !ok {
		t.Errorf("Best = %d, %v; want 1", best, ok)
	}
}

func TestParseSet(t *testing.T) {
	set, err := platform.ParseSet("linux/arm64, linux/amd64/v1")
	if err != nil || set.String() != "linux/arm64,linux/amd64" {
		t.Fatalf("ParseSet = %v, %v", set, err)
	}
	if !set.Contains(platform.Platform{OS: "linux", Architecture: "aarch64"}) || set.Contains(platform.MustParse("linux/386")) {
		t.Error("Contains is wrong")
	}
	for in, want := range map[string]string{
		"":                           "is empty",
		"linux/amd64,":               "is empty",
		"linux/amd64,linux/x86_64":   "linux/amd64 is listed twice",
		"linux/amd64,linux/arm64/v8": "",
		"linux/amd64,linux/amd46":    `did you mean "amd64"`,
	} {
		_, err := platform.ParseSet(in)
		var perr *platform.ParseError
		if want == "" && err == nil {
			continue
		}
		if want == "" || !errors.As(err, &perr) || !strings.Contains(err.Error(), want) {
			t.Errorf("ParseSet(%q): %v; want %q", in, err, want)
		}
	}
}

func TestSetCheck(t *testing.T) {
	amd64 := platform.Platform{OS: "linux", Architecture: "amd64"}
	for _, c := range []struct {
		set  platform.Set
		want string
	}{
		{nil, ""},
		{platform.Set{amd64}, ""},
		{platform.Set{amd64, {}}, "unset"},
		{platform.Set{amd64, {OS: "linux", Architecture: "x86-64"}}, "twice"},
		{platform.Set{{OS: "linux", Architecture: "amd46"}}, "did you mean"},
	} {
		err := c.set.Check()
		if (c.want == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v.Check() = %v; want %q", c.set, err, c.want)
		}
	}
}

func TestMustPanicsOnBadConstants(t *testing.T) {
	for name, f := range map[string]func(){
		"MustParse":    func() { platform.MustParse("linux") },
		"MustParseSet": func() { platform.MustParseSet("linux") },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s did not panic", name)
				}
			}()
			f()
		}()
	}
}

func TestArgs(t *testing.T) {
	got := platform.MustParse("windows(10.0.17763)/amd64").Args(platform.MustParse("linux/arm/v6"))
	want := map[string]string{
		"TARGETPLATFORM": "windows(10.0.17763)/amd64", "TARGETOS": "windows", "TARGETOSVERSION": "10.0.17763", "TARGETARCH": "amd64", "TARGETVARIANT": "",
		"BUILDPLATFORM": "linux/arm/v6", "BUILDOS": "linux", "BUILDOSVERSION": "", "BUILDARCH": "arm", "BUILDVARIANT": "v6",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("Args (-want +got):\n%s", d)
	}
}

func FuzzParse(f *testing.F) {
	seeds := []string{"linux/amd64", "linux/arm/v7", "windows(10.0.17763)/amd64", "", "/", "linux/amd64,linux/arm64", "LINUX/AARCH64", "a(b)/c"}
	if len(seeds) < 8 {
		f.Fatal("seeds are missing")
	}
	for _, s := range seeds {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p, err := platform.Parse(s)
		if err != nil {
			return
		}
		if again, err := platform.Parse(p.String()); err != nil || again != p {
			t.Errorf("Parse(%q) = %#v prints %q, which parses to %#v, %v", s, p, p, again, err)
		}
		if !p.Satisfies(p) {
			t.Errorf("%v does not satisfy itself", p)
		}
	})
}

func ExampleParse() {
	p, err := platform.Parse("linux/aarch64")
	fmt.Println(p, err)
	_, err = platform.Parse("linux/amd46")
	fmt.Println(err)
	// Output:
	// linux/arm64 <nil>
	// platform "linux/amd46": unknown architecture "amd46"; did you mean "amd64"?
}

func ExampleMustParse() {
	fmt.Println(platform.MustParse("linux/arm").Variant)
	// Output: v7
}

func ExampleParseSet() {
	set, err := platform.ParseSet("linux/amd64, linux/arm64")
	fmt.Println(len(set), set, err)
	// Output: 2 linux/amd64,linux/arm64 <nil>
}

func ExampleMustParseSet() {
	for _, p := range platform.MustParseSet("linux/amd64,linux/arm/v7") {
		fmt.Println(p)
	}
	// Output:
	// linux/amd64
	// linux/arm/v7
}

func ExampleBest() {
	have := platform.MustParseSet("linux/amd64,linux/arm/v6,linux/arm64")
	i, ok := platform.Best(platform.MustParse("linux/arm/v7"), have)
	fmt.Println(have[i], ok)
	// Output: linux/arm/v6 true
}

func ExamplePlatform_Args() {
	args := platform.MustParse("linux/arm64").Args(platform.MustParse("linux/amd64"))
	fmt.Println(args["TARGETARCH"], args["BUILDPLATFORM"])
	// Output: arm64 linux/amd64
}

func ExampleHost() {
	fmt.Println(platform.Host().Satisfies(platform.Host()))
	// Output: true
}

func ExampleParseFor() {
	machine := platform.MustParse("linux/amd64")
	for _, s := range []string{"arm64", "linux", "linux/arm/v6"} {
		p, err := platform.ParseFor(s, machine)
		fmt.Println(p, err)
	}
	// Output:
	// linux/arm64 <nil>
	// linux/amd64 <nil>
	// linux/arm/v6 <nil>
}
