package arg_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stagewright/stagewright/arg"
)

func even(s string) error {
	if len(s)%2 != 0 {
		return errors.New("its length is odd")
	}
	return nil
}

func TestCheck(t *testing.T) {
	oneOf := arg.New("A", arg.OneOf("development", "production"))
	port := arg.New("A", arg.IntRange(1, 65535))
	for _, c := range []struct {
		a     arg.Arg
		value string
		want  string // a part of the error, "" for none
	}{
		{arg.New("A"), "", ""},
		{arg.New("A"), "anything $ at all", ""},
		{arg.New("A"), "a\x00b", "no NUL byte"},
		{arg.New("A", arg.Required()), "x", ""},
		{arg.New("A", arg.Required()), "", `argument A is "", want string that is not empty`},
		{oneOf, "production", ""},
		{oneOf, "", `want one of "development", "production"`},
		{oneOf, "prodution", `argument A is "prodution", want one of "development", "production"; did you mean "production"?`},
		{oneOf, "prod", `did you mean "production"?`},
		{oneOf, "Production", `did you mean "production"?`},
		{arg.New("A", arg.Bool()), "true", ""},
		{arg.New("A", arg.Bool()), "false", ""},
		{arg.New("A", arg.Bool()), "1", `want "true" or "false"; did you mean "true"?`},
		{arg.New("A", arg.Bool()), "NO", `did you mean "false"?`},
		{arg.New("A", arg.Bool()), "maybe", `want "true" or "false"`},
		{arg.New("A", arg.Int()), "-12", ""},
		{arg.New("A", arg.Int()), "9223372036854775807", ""},
		{arg.New("A", arg.Int()), "9223372036854775808", "want integer"},
		{arg.New("A", arg.Int()), "+1", `did you mean "1"?`},
		{arg.New("A", arg.Int()), "007", `did you mean "7"?`},
		{arg.New("A", arg.Int()), "1.5", "want integer"},
		{arg.New("A", arg.Int()), "", "want integer"},
		{port, "1", ""},
		{port, "65535", ""},
		{port, "0", "want integer from 1 to 65535"},
		{port, "65536", "want integer from 1 to 65535"},
		{arg.New("A", arg.Int(), arg.OneOf("1", "2")), "3", `one of "1", "2"`},
		{arg.New("A", arg.Validate(even)), "ab", ""},
		{arg.New("A", arg.Validate(even)), "abc", `argument A is "abc": its length is odd`},
		{arg.New("A", arg.Validate(even), arg.Validate(even), arg.OneOf("ab")), "abc", "one of"},
	} {
		if err := c.a.Err(); err != nil {
			t.Errorf("Err: %v", err)
		}
		err := c.a.Check(c.value)
		if c.want == "" && err == nil {
			continue
		}
		var verr *arg.ValueError
		if c.want == "" || !errors.As(err, &verr) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("Check(%q) = %v; want %q", c.value, err, c.want)
		} else if verr.Name != "A" || verr.Value != c.value {
			t.Errorf("Check(%q) = %#v", c.value, verr)
		}
	}
}

func TestErr(t *testing.T) {
	for name, c := range map[string]struct {
		a    arg.Arg
		want []string
	}{
		"fine":             {arg.New("_a1", arg.Default(""), arg.Doc("x")), nil},
		"zero":             {arg.Arg{}, []string{"is the zero Arg"}},
		"no name":          {arg.New(""), []string{"is no name"}},
		"digit first":      {arg.New("1A"), []string{"is no name"}},
		"dash":             {arg.New("A-B"), []string{"is no name"}},
		"not ASCII":        {arg.New("É"), []string{"is no name"}},
		"default":          {arg.New("A", arg.Default("c"), arg.OneOf("a", "b")), []string{"default is not allowed", `one of "a", "b"`}},
		"default first":    {arg.New("A", arg.OneOf("a"), arg.Default("c")), []string{"default is not allowed"}},
		"default expands":  {arg.New("A", arg.OneOf("a"), arg.Default("${B}")), nil},
		"default broken":   {arg.New("A", arg.Default("${B")), []string{"default cannot be expanded", "missing '}'"}},
		"required default": {arg.New("A", arg.Required(), arg.Default("x")), []string{"required and has a default"}},
		"nothing allowed":  {arg.New("A", arg.OneOf()), []string{"allows nothing"}},
		"twice":            {arg.New("A", arg.OneOf("a", "a")), []string{`lists "a" twice`}},
		"two lists":        {arg.New("A", arg.OneOf("a"), arg.OneOf("b")), []string{"given twice"}},
		"two types":        {arg.New("A", arg.Int(), arg.Bool()), []string{"two types"}},
		"empty range":      {arg.New("A", arg.IntRange(2, 1)), []string{"from 2 to 1 allows nothing"}},
		"wrong type":       {arg.New("A", arg.Int(), arg.OneOf("1", "x")), []string{"another type", `"x"`}},
		"nil validator":    {arg.New("A", arg.Validate(nil)), []string{"Validate is given nil"}},
		"nil option":       {arg.New("A", nil), nil},
		"all at once":      {arg.New("1", arg.OneOf(), arg.Validate(nil)), []string{"is no name", "allows nothing", "given nil"}},
	} {
		err := c.a.Err()
		if (err == nil) != (c.want == nil) {
			t.Errorf("%s: %v; want %q", name, err, c.want)
			continue
		}
		for _, want := range c.want {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v; want %q", name, err, want)
			}
		}
		var decl *arg.DeclError
		if err != nil && !errors.As(err, &decl) {
			t.Errorf("%s: error of type %T", name, err)
		}
	}
}

func TestErrKeepsTheCause(t *testing.T) {
	err := arg.New("A", arg.Int(), arg.Default("x")).Err()
	var verr *arg.ValueError
	if !errors.As(err, &verr) || verr.Value != "x" {
		t.Errorf("%v has no ValueError", err)
	}
	cause := errors.New("cause")
	err = arg.New("A", arg.Validate(func(string) error { return cause })).Check("")
	if !errors.Is(err, cause) {
		t.Errorf("%v does not wrap the validator's error", err)
	}
}

func TestArgIsImmutable(t *testing.T) {
	values := []string{"a", "b"}
	a := arg.New("A", arg.OneOf(values...))
	values[0] = "z"
	if a.Check("a") != nil || a.Check("z") == nil {
		t.Error("an edit of OneOf's slice changed the argument")
	}
}

func TestAccessors(t *testing.T) {
	a := arg.New("A", arg.Default(""))
	if v, ok := a.Default(); a.Name() != "A" || v != "" || !ok || a.IsRequired() {
		t.Errorf("%q, %q, %v, %v", a.Name(), v, ok, a.IsRequired())
	}
	b := arg.New("B", arg.Required())
	if v, ok := b.Default(); v != "" || ok || !b.IsRequired() {
		t.Errorf("%q, %v, %v", v, ok, b.IsRequired())
	}
}

func TestDescribe(t *testing.T) {
	for want, a := range map[string]arg.Arg{
		"A: string": arg.New("A"),
		`A: "true" or "false" (default "false"): debug`: arg.New("A", arg.Bool(), arg.Default("false"), arg.Doc("debug")),
		`A: one of "x", "y" (required)`:                 arg.New("A", arg.OneOf("x", "y"), arg.Required()),
		"A: string that is not empty (required)":        arg.New("A", arg.Required()),
		"A: integer from 1 to 9: how many":              arg.New("A", arg.IntRange(1, 9), arg.Doc("how many")),
		`A: integer (default "")`:                       arg.New("A", arg.Int(), arg.Default("")),
	} {
		if got := a.Describe(); got != want {
			t.Errorf("Describe() = %q, want %q", got, want)
		}
	}
}

func TestNear(t *testing.T) {
	names := []string{"builder", "build", "test", "runtime", "BASE", "a"}
	for _, c := range []struct {
		name string
		want []string
	}{
		{"bulider", []string{"builder"}},
		{"Builder", []string{"builder", "build"}},
		{"base", []string{"BASE"}},
		{"run", []string{"runtime"}},
		{"tets", []string{"test"}},
		{"x", nil},
		{"", nil},
		{"completely different", nil},
		{strings.Repeat("b", 1<<20), nil},
	} {
		if got := arg.Near(c.name, names); !slices.Equal(got, c.want) {
			t.Errorf("Near(%.40q) = %q, want %q", c.name, got, c.want)
		}
	}
	if got := arg.Near("aaaa", []string{"aaab", "aaac", "aaad", "aaae", "aaab"}); len(got) != 3 {
		t.Errorf("Near gives %q, want three", got)
	}
}

func ExampleNew() {
	env := arg.New("TARGET_ENV",
		arg.OneOf("development", "production"),
		arg.Default("development"),
		arg.Doc("where the image will run"))
	fmt.Println(env.Err())
	fmt.Println(env.Describe())
	fmt.Println(env.Check("prodution"))
	// Output:
	// <nil>
	// TARGET_ENV: one of "development", "production" (default "development"): where the image will run
	// argument TARGET_ENV is "prodution", want one of "development", "production"; did you mean "production"?
}

func ExampleArg_Err() {
	port := arg.New("PORT", arg.IntRange(1, 65535), arg.Default("http"))
	fmt.Println(port.Err())
	// Output: argument "PORT": its default is not allowed: argument PORT is "http", want integer from 1 to 65535
}

func ExampleValidate() {
	semver := arg.New("VERSION", arg.Validate(func(v string) error {
		if !strings.HasPrefix(v, "v") {
			return errors.New(`a version starts with "v"`)
		}
		return nil
	}))
	fmt.Println(semver.Check("1.2.3"))
	// Output: argument VERSION is "1.2.3": a version starts with "v"
}

func ExampleNear() {
	fmt.Println(arg.Near("biulder", []string{"builder", "runtime"}))
	// Output: [builder]
}

func TestParts(t *testing.T) {
	p := arg.New("PORT", arg.Default("80"), arg.IntRange(1, 90), arg.Doc("where"), arg.OneOf("80", "81"), arg.Validate(even)).Parts()
	want := arg.Parts{Name: "PORT", Default: "80", HasDefault: true, Doc: "where", OneOf: []string{"80", "81"}, Int: true, Low: 1, High: 90, Validated: true}
	if d := cmp.Diff(want, p); d != "" {
		t.Errorf("-want +got\n%s", d)
	}
	if p := arg.New("B", arg.Bool(), arg.Required()).Parts(); !p.Bool || !p.Required || p.HasDefault || p.Validated {
		t.Errorf("%+v", p)
	}
}

func ExampleWritten() {
	a := arg.New("http-proxy", arg.Written(), arg.Default(`"$1"`))
	fmt.Println(a.Err())
	// Output: <nil>
}
