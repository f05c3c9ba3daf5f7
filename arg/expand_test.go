package arg_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stagewright/stagewright/arg"
)

func TestNames(t *testing.T) {
	for _, c := range []struct {
		text    string
		options arg.Options
		want    []arg.Ref
	}{
		{"plain", arg.Options{}, nil},
		{"$A-${B}-$A", arg.Options{}, []arg.Ref{{Name: "A"}, {Name: "B", Offset: 3}, {Name: "A", Offset: 8}}},
		{`\$A '$B'`, arg.Options{}, []arg.Ref{{Name: "B", Offset: 5}}},
		{`\$A '$B' "$C"`, arg.Options{Quotes: arg.Word}, []arg.Ref{{Name: "C", Offset: 10}}},
		{"${A:-${B-$C}}", arg.Options{}, []arg.Ref{
			{Name: "A", Operator: ":-"}, {Name: "B", Offset: 5, Operator: "-", Nested: true}, {Name: "C", Offset: 9, Nested: true}}},
		{"${A//$B/$C}${D##*/}", arg.Options{}, []arg.Ref{
			{Name: "A", Operator: "//"}, {Name: "B", Offset: 5, Nested: true}, {Name: "C", Offset: 8, Nested: true},
			{Name: "D", Offset: 11, Operator: "##"}}},
		{"$$ $1", arg.Options{Quotes: arg.Word}, []arg.Ref{{Name: "$"}, {Name: "1", Offset: 3}}},
	} {
		got, err := arg.Names(c.text, c.options)
		if d := cmp.Diff(c.want, got); err != nil || d != "" {
			t.Errorf("Names(%q): %v (-want +got)\n%s", c.text, err, d)
		}
	}
	if _, err := arg.Names("${A", arg.Options{}); err == nil {
		t.Error("Names takes an unclosed brace")
	}
}

func TestRefOptional(t *testing.T) {
	optional := map[string]bool{"-": true, ":-": true, "+": true, ":+": true}
	for _, op := range []string{"", "-", ":-", "+", ":+", "?", ":?", "#", "##", "%", "%%", "/", "//"} {
		text := "${A" + op + "x/y}"
		if op == "" {
			text = "$A"
		}
		refs, err := arg.Names(text, arg.Options{})
		if err != nil || len(refs) != 1 || refs[0].Operator != op {
			t.Errorf("Names(%q) = %v, %v", text, refs, err)
		} else if refs[0].Optional() != optional[op] {
			t.Errorf("Optional of %q is %v", text, refs[0].Optional())
		}
	}
}

func TestStrict(t *testing.T) {
	env := arg.Values{"E": ""}
	for text, want := range map[string]string{
		"$U":          "U: is not set; give it a value, or write ${U:-value} for a default",
		"a${U}":       "U: is not set",
		"${U#x}":      "U: is not set",
		"${U//x/y}":   "U: is not set",
		"${U-d}${U+}": "",
		"${E}${E%x}":  "",
		"${E:-${U}}":  "U: is not set",
		"${U?m}":      "U: m",
	} {
		_, err := arg.Expand(text, env.Lookup, arg.Options{Strict: true})
		var unset *arg.UnsetError
		if want == "" && err == nil {
			continue
		}
		if want == "" || !errors.As(err, &unset) || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%q: %v; want %q", text, err, want)
		}
	}
}

func TestNilLookupKnowsNothing(t *testing.T) {
	if s, err := arg.Expand("[$A${B-d}]", nil, arg.Options{}); s != "[d]" || err != nil {
		t.Errorf("got %q, %v", s, err)
	}
}

func TestBadOptions(t *testing.T) {
	for _, o := range []arg.Options{{Quotes: 9}, {Escape: 'x'}, {Escape: -1}} {
		if _, err := arg.Expand("x", nil, o); err == nil {
			t.Errorf("Expand takes %+v", o)
		}
		if _, err := arg.Names("x", o); err == nil {
			t.Errorf("Names takes %+v", o)
		}
	}
}

// TestLimits gives hostile texts and values: each must be refused, and the test binary's timeout and memory are the proof
// that it is refused early.
func TestLimits(t *testing.T) {
	mib := strings.Repeat("x", 1<<20)
	env := arg.Values{"M": mib, "H": mib[:1<<19], "G": strings.Repeat("?x*", 1<<16), "B": strings.Repeat(`\`, 1<<20)}
	nested := strings.Repeat("${U:-", 101) + strings.Repeat("}", 101)
	for name, c := range map[string]struct {
		text string
		o    arg.Options
	}{
		"long text":            {mib + "x", arg.Options{}},
		"long result":          {"$M.", arg.Options{}},
		"sum of halves":        {"$H${H}x", arg.Options{}},
		"long word":            {`"$H"$H"x"`, arg.Options{Quotes: arg.Word}},
		"deep":                 {nested, arg.Options{}},
		"replace all by all":   {"${M//x/$M}", arg.Options{}},
		"empty pattern":        {"${M///$M}", arg.Options{}},
		"template":             {"${M//x/'$0$0'}", arg.Options{Quotes: arg.Word}},
		"costly pattern":       {"${M##$G}", arg.Options{}},
		"costly end":           {"${M%%$G}", arg.Options{}},
		"costly replacement":   {"${M//$G/}", arg.Options{}},
		"many costly patterns": {strings.Repeat("${M##*}", 1000), arg.Options{}},
		"many replacements":    {strings.Repeat("${M//x/}", 1000), arg.Options{}},
		"unused, with Docker":  {strings.Repeat("${U+${M##*}}", 1000), arg.Options{Quotes: arg.Word}},
	} {
		t.Run(name, func(t *testing.T) {
			if s, err := arg.Expand(c.text, env.Lookup, c.o); !errors.Is(err, arg.ErrLimit) {
				t.Errorf("Expand: %d bytes, %v; want ErrLimit", len(s), err)
			} else if len(err.Error()) > 1000 {
				t.Errorf("the error has %d bytes", len(err.Error()))
			}
			if w, err := arg.ExpandWords(c.text, env.Lookup, c.o); !errors.Is(err, arg.ErrLimit) {
				t.Errorf("ExpandWords: %d words, %v; want ErrLimit", len(w), err)
			}
		})
	}
	for name, text := range map[string]string{
		"just a MiB":       mib,
		"value of a MiB":   "$M",
		"100 deep":         strings.Repeat("${U:-", 100) + strings.Repeat("}", 100),
		"literal patterns": "${M#x}",
		"many names":       strings.Repeat("$U", 1<<18),
	} {
		if _, err := arg.Expand(text, env.Lookup, arg.Options{}); err != nil {
			t.Errorf("%s: %.200v", name, err)
		}
	}
	if _, err := arg.Expand("${H#$B}", env.Lookup, arg.Options{}); err != nil {
		t.Errorf("a long literal pattern: %.200v", err)
	}
}

func TestEscapeRoundTrip(t *testing.T) {
	for _, s := range []string{"", "plain", "$", "$A", `\$A`, `\\$A`, `a\b`, "$$", "${", `\\\$\$`, "$$$1", `C:\$x\`} {
		if got, err := arg.Expand(arg.Escape(s), nil, arg.Options{}); got != s || err != nil {
			t.Errorf("Expand(Escape(%q) = %q) = %q, %v", s, arg.Escape(s), got, err)
		}
	}
}

func FuzzExpand(f *testing.F) {
	seeds := readCorpus(f)
	if len(seeds) < 150 {
		f.Fatalf("only %d seeds", len(seeds))
	}
	for _, c := range seeds {
		f.Add(c.input, c.env["A"], c.env["N"], uint8(c.options.Quotes))
	}
	f.Fuzz(func(t *testing.T, text, a, n string, mode uint8) {
		env := arg.Values{"A": a, "N": n, "E": ""}
		o := arg.Options{Quotes: arg.QuoteMode(mode % 3)}
		got, err := arg.Expand(text, env.Lookup, o)
		words, werr := arg.ExpandWords(text, env.Lookup, o)
		if (err == nil) != (werr == nil) {
			t.Errorf("Expand: %v, but ExpandWords: %v", err, werr)
		}
		var syntax *arg.SyntaxError
		if errors.As(err, &syntax) && (syntax.Offset < 0 || syntax.Offset > len(text)) {
			t.Errorf("offset %d of %q", syntax.Offset, text)
		}
		if err == nil && inked(got) != inked(words...) {
			t.Errorf("words %q have other characters than %q", words, got)
		}
		refs, nerr := arg.Names(text, o)
		if err == nil && nerr != nil {
			t.Errorf("Expand takes what Names refuses: %v", nerr)
		}
		for _, r := range refs {
			if text[r.Offset] != '$' || !strings.Contains(text[r.Offset:], r.Name) {
				t.Errorf("%+v does not point at a variable of %q", r, text)
			}
		}
		if back, err := arg.Expand(arg.Escape(text), nil, arg.Options{}); len(text) < 1<<18 && (back != text || err != nil) {
			t.Errorf("Escape(%q) expands to %q, %v", text, back, err)
		}
	})
}

// inked gives the texts without their white space. Each text is read on its own: joined first, the words "\xc2" and
// "\xa0" would be a no-break space that neither of them has.
func inked(texts ...string) string {
	var b strings.Builder
	for _, text := range texts {
		for word := range strings.FieldsSeq(text) {
			b.WriteString(word)
		}
	}
	return b.String()
}

func BenchmarkExpand(b *testing.B) {
	env := arg.Values{"VERSION": "1.26", "P": "/x/y.tar.gz"}
	for _, text := range []string{"plain text without a variable", "golang:${VERSION:-latest}", "${P##*/}"} {
		b.Run(text, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := arg.Expand(text, env.Lookup, arg.Options{}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func ExampleExpand() {
	env := arg.Values{"GO_VERSION": "1.26"}
	image, err := arg.Expand("golang:${GO_VERSION}-${DISTRO:-alpine}", env.Lookup, arg.Options{})
	fmt.Println(image, err)
	_, err = arg.Expand("costs $5", env.Lookup, arg.Options{})
	fmt.Println(err)
	// Output:
	// golang:1.26-alpine <nil>
	// $5 is no variable; write \$5 for a dollar sign (at offset 6 of "costs $5")
}

func ExampleExpandWords() {
	env := arg.Values{"PORTS": "80 443"}
	words, err := arg.ExpandWords(`$PORTS 8080/udp "a b"`, env.Lookup, arg.Options{Quotes: arg.Word})
	fmt.Printf("%q %v\n", words, err)
	// Output: ["80" "443" "8080/udp" "a b"] <nil>
}

func ExampleNames() {
	refs, err := arg.Names("config-${TARGET_ENV}.yaml for ${USER:-nobody}", arg.Options{})
	for _, r := range refs {
		fmt.Println(r.Offset, r.Name, r.Optional())
	}
	fmt.Println(err)
	// Output:
	// 7 TARGET_ENV false
	// 30 USER true
	// <nil>
}

func ExampleEscape() {
	text := arg.Escape("costs $5")
	fmt.Println(text)
	fmt.Println(arg.Expand(text, nil, arg.Options{}))
	// Output:
	// costs \$5
	// costs $5 <nil>
}

// A text without a sign that means something is itself in every mode, but wrong options are a mistake all the same.
func TestPlainText(t *testing.T) {
	for _, text := range []string{"", "a", "a b\t c", "/srv/\xff\x00ü/{x}*?[!]", strings.Repeat("x", 1<<20)} {
		for _, mode := range []arg.QuoteMode{arg.Text, arg.Word, arg.Body} {
			for _, escape := range []rune{0, '\\', '`'} {
				got, err := arg.Expand(text, nil, arg.Options{Quotes: mode, Escape: escape})
				if got != text || err != nil {
					t.Errorf("mode %d, escape %q: %.20q is %.20q, %v", mode, escape, text, got, err)
				}
			}
		}
	}
	for _, o := range []arg.Options{{Quotes: arg.Body + 1}, {Escape: 'x'}} {
		if _, err := arg.Expand("a", nil, o); err == nil {
			t.Errorf("%+v: no error", o)
		}
	}
	if _, err := arg.Expand(strings.Repeat("x", 1<<20+1), nil, arg.Options{}); !errors.Is(err, arg.ErrLimit) {
		t.Errorf("too long: %v", err)
	}
}
