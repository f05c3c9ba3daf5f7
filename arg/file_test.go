package arg_test

import (
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"

	"github.com/stagewright/stagewright/arg"
)

func TestReadValues(t *testing.T) {
	for _, c := range []struct {
		text string
		want arg.Values
	}{
		{"", arg.Values{}},
		{"\uFEFFA=1\r\nB=x = y \n\n# C=3\n  D = \"$A\"", arg.Values{"A": "1", "B": "x = y", "D": ` "$A"`}},
		{"A=", arg.Values{"A": ""}},
		{"A=x#y", arg.Values{"A": "x#y"}},
	} {
		if got, err := arg.ReadValues(strings.NewReader(c.text), "f"); err != nil || !maps.Equal(got, c.want) {
			t.Errorf("%q: %q, %v; want %q", c.text, got, err, c.want)
		}
	}
	for text, want := range map[string]string{
		"A=1\nB":       "f:2: want NAME=VALUE",
		"=1":           "f:1: want NAME=VALUE",
		"export A=1":   `f:1: the name "export A" has blanks in it`,
		"A=1\n#\nA=2":  "f:3: A stands in line 1 already",
		"A=\xff":       "f:1: it is no text (UTF-8)",
		"A=a\x00b\nB=": "f:1: it is no text (UTF-8)",
	} {
		_, err := arg.ReadValues(strings.NewReader(text), "f")
		if _, ok := errors.AsType[*arg.FileError](err); !ok || err.Error() != want {
			t.Errorf("%q: %v; want %s", text, err, want)
		}
	}
	if _, err := arg.ReadValues(strings.NewReader("A="+strings.Repeat("x", arg.MaxFile)), "f"); !errors.Is(err, arg.ErrLimit) {
		t.Errorf("a large file: %v", err)
	}
	if v, err := arg.ReadValues(strings.NewReader("A="+strings.Repeat("x", arg.MaxFile-2)), "f"); err != nil || len(v["A"]) != arg.MaxFile-2 {
		t.Errorf("a file of the largest size: %v", err)
	}
}

func ExampleReadValues() {
	values, err := arg.ReadValues(strings.NewReader("# of releases\nGO_VERSION=1.26\nTARGET_ENV=production\n"), "release.args")
	fmt.Println(values["GO_VERSION"], values["TARGET_ENV"], err)
	// Output: 1.26 production <nil>
}
