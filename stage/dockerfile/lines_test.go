package dockerfile

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
	"golang.org/x/tools/txtar"
)

// lineTexts are texts in which the lines are what matters.
var lineTexts = []string{
	"", "\n", "#", "# comment\n", "\xef\xbb\xbfFROM a\n\xef\xbb\xbfRUN b", "FROM a\r\nRUN b \\\r\n  c\r\n", "\\\nFROM a", "FROM a\n\\", "FROM a\n\\\n", "FROM a \\",
	"FROM a\nRUN a \\\\\nRUN b \\ \t\n c\n", "FROM a\nRUN a \\\n\n# comment\n \n b\n", "FROM a\nRUN a \\\n\\\nb", "FROM a\nRUN a\\\n\\ \\\n", "FROM a\nRUN x\\\\\\\ny",
	"# escape=`\nFROM a\nRUN a `\nb\\\nCOPY c\\ d e\n", "# syntax=docker/dockerfile:1\n# escape=\\\n# text\nFROM a", "# text\n# escape=`\nFROM a\nRUN a `\n b", "# escape=x\nFROM a",
	"# escape=`\n# escape=`\nFROM a", " # check=skip=all\n# one\n\n # two\n#\n# three\nFROM a\n# four\nRUN b",
	"FROM --platform=linux/amd64 a AS b\nCOPY --from=x --chown=1:2 a b\nCOPY --from='x y' a b\nCOPY --link\nCOPY -- a b\nCOPY --from=x\\ y a b\nADD\t--chmod=1\va \f b\n",
	"FROM a\nCOPY [\"a\", \"b\"] \nCOPY [ a b ]\nCMD [\"a\"]\nCMD [a]\nSHELL [1]\n", "FROM a\nRUN\nCOPY\nENV\nARG\nUSER  \n", "FROM a\nENV a b  c\nENV a=b c='d e' f=\\\"\nLABEL a=\"b c\" \\\n d=e\nARG a=b c\n",
	"FROM a\nRUN cat <<E\nx\nE\nCOPY <<A <<B /\na\nA\nb\nB\n", "FROM a\nRUN cat <<E\nx", "FROM a\nONBUILD RUN a\nONBUILD COPY <<E /\nE\nHEALTHCHECK --interval=1s CMD a\nHEALTHCHECK NONE\n",
	"from a\ncOpY b c\nMAINTAINER a b \nSTOPSIGNAL 9\nEXPOSE 1 2/udp\nVOLUME a b\nWORKDIR /a b\nUNKNOWN a b\nADD\n", "FROM a\nCOPY \u00a0a b\u00a0\nCOPY --from=\u00e0 a b\nCOPY a\u2003b c\nRUN \u0085--mount=x y\n\u00a0RUN z\n\u00a0# c\nRUN z",
	"FROM a\nCOPY a\xffb\xa0 c\xa0\nCOPY \xa0--from=x a b\nCOPY --from=x \x85a b\nRUN a\xff\\\nb",
	"FROM a\n#\n# b\n\n\n# c\nCOPY d e\n\n# f", "FROM a\nRUN " + strings.Repeat("x", 1<<16), "FROM a\nRUN " + strings.Repeat("x", 50_000) + "\\\n" + strings.Repeat("x", 50_000) + "\nCOPY a b", "FROM a\nRUN a \\\n" + strings.Repeat("#", 1<<16) + "\nb",
}

// checkLines compares parseLines with BuildKit's parser.
func checkLines(t *testing.T, text []byte) {
	t.Helper()
	want, wantErr := parser.Parse(bytes.NewReader(text))
	got, err := parseLines(text)
	if fmt.Sprint(err) != fmt.Sprint(wantErr) {
		t.Fatalf("%q: error %v, want %v", text, err, wantErr)
	}
	if err != nil {
		return
	}
	for _, list := range [][]parser.Warning{want.Warnings, got.Warnings} { // their places are all that is asked for
		for i := range list {
			list[i].Short, list[i].Detail = "", nil
		}
	}
	if got.Warnings == nil {
		got.Warnings = []parser.Warning{}
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%q: -BuildKit +own\n%s", text, cmp.Diff(want, got))
	}
}

// lineCorpus is every text that this project has of Dockerfiles, and with them some that are none.
func lineCorpus(t testing.TB) (texts [][]byte) {
	t.Helper()
	for _, text := range lineTexts {
		texts = append(texts, []byte(text))
	}
	for _, dir := range []string{"testdata", "../../internal/conformance/testdata/cases"} {
		err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			data, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			for _, file := range txtar.Parse(data).Files {
				texts = append(texts, file.Data)
			}
			for part := range bytes.SplitSeq(data, []byte("\n=== ")) {
				_, text, _ := bytes.Cut(part, []byte("\n"))
				texts = append(texts, text)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return texts
}

// TestLinesAsBuildKit: a Dockerfile's lines are those that BuildKit's parser finds.
func TestLinesAsBuildKit(t *testing.T) {
	texts := lineCorpus(t)
	if len(texts) < 1500 {
		t.Errorf("%d texts", len(texts))
	}
	for _, text := range texts {
		checkLines(t, text)
		for _, change := range []func([]byte) []byte{
			func(b []byte) []byte { return bytes.ReplaceAll(b, []byte("\n"), []byte("\r\n")) },
			func(b []byte) []byte { return bytes.ReplaceAll(b, []byte(" "), []byte(" \\\n")) },
			func(b []byte) []byte { return bytes.ReplaceAll(b, []byte(" "), []byte(" \\\n\n #x\n")) },
			func(b []byte) []byte { return append([]byte("# escape=`\n"), b...) },
		} {
			checkLines(t, change(text))
		}
	}
}

// TestLinesPlain: a file of plain lines is read without BuildKit's parser, which would take ten times as long.
func TestLinesPlain(t *testing.T) {
	text := "# syntax=docker/dockerfile:1\nARG A=1\n# about a\nFROM --platform=$A b AS a\nCOPY --from=x --link c \\\n  # and\n  d /e/\nRUN a && \\\n b \"c\"\nENV A=\"b c\"\n"
	r := lineReader{rest: text, escape: '\\', root: &parser.Node{StartLine: -1}}
	if !r.read() || len(r.root.Children) != 5 {
		t.Errorf("%d instructions of 5", len(r.root.Children))
	}
	one := lineReader{escape: '\\'}
	for line, want := range map[string]bool{
		"COPY --from=x --link c d /e/": true, `RUN a && b "c"`: true, "FROM b AS c": true, "WORKDIR /a": true, "VOLUME a b": true,
		`ENV A="b c"`: false, "COPY --from='x' a b": false, `COPY ["a", "b"]`: false,
	} {
		if got := one.plain(line) != nil; got != want {
			t.Errorf("%s: plain %v, want %v", line, got, want)
		}
	}
}

// FuzzLines: whatever the text, the lines are those that BuildKit's parser finds.
func FuzzLines(f *testing.F) {
	for _, text := range lineCorpus(f) {
		f.Add(text)
	}
	f.Fuzz(checkLines)
}

func BenchmarkLines(b *testing.B) {
	var text bytes.Buffer
	for i := range 1000 {
		fmt.Fprintf(&text, "FROM scratch AS s%d\n", i)
		for j := range 10 {
			fmt.Fprintf(&text, "COPY --from=s%d files/%d /out/%d-%d\n", i, j, i, j)
		}
	}
	for name, parse := range map[string]func([]byte) (*parser.Result, error){
		"own":      parseLines,
		"BuildKit": func(text []byte) (*parser.Result, error) { return parser.Parse(bytes.NewReader(text)) },
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := parse(text.Bytes()); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
