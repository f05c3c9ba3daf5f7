package conformance

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"golang.org/x/tools/txtar"
)

// Case is one Dockerfile with all that belongs to its build.
type Case struct {
	Name       string   // GROUP/NAME
	Items      []string // of docker-semantics.md: "C22"
	Doc        string
	Args       []Pair // build arguments in order
	Target     string
	Platform   string // never empty
	File       string // path of the Dockerfile: "Dockerfile"
	Dockerfile []byte
	Contexts   []Pair // name, and a directory of the archive or a reference
	Secrets    []Pair
	Labels     []Pair
	Hosts      []Pair
	Network    string
	Fails      string
	Differs    string
	LiveOnly   bool

	dirs map[string]*fileset // the archive's directories: "context", further contexts, "http", "git/NAME"
	own  map[string][]byte   // files beside the directories: the Dockerfile and its ignore file
}

// Pair is a name with a value.
type Pair struct{ Name, Value string }

var itemWord = regexp.MustCompile(`^C[0-9]+,?$`)

// LoadCases reads all cases below dir, in the order of their names.
func LoadCases(dir string) ([]*Case, error) {
	var cases []*Case
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Ext(path) != ".txtar" {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		c, err := ParseCase(filepath.ToSlash(strings.TrimSuffix(rel, ".txtar")), data)
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		cases = append(cases, c)
		return nil
	})
	return cases, err
}

// ParseCase reads one case.
func ParseCase(name string, data []byte) (*Case, error) {
	archive := txtar.Parse(data)
	c := &Case{Name: name, Platform: "linux/amd64", File: "Dockerfile", dirs: map[string]*fileset{}, own: map[string][]byte{}}
	if err := c.comment(string(archive.Comment)); err != nil {
		return nil, err
	}
	if err := c.files(archive.Files); err != nil {
		return nil, err
	}
	if len(c.Items) == 0 {
		return nil, fmt.Errorf("the first line must name an item: # C22 what is shown")
	}
	var ok bool
	if c.Dockerfile, ok = c.own[c.File]; !ok {
		if c.Dockerfile, ok = c.dir("context").content(c.File); !ok {
			return nil, fmt.Errorf("no file %s", c.File)
		}
	}
	return c, nil
}

func (c *Case) comment(text string) error {
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line == "" {
			continue
		}
		if doc, ok := strings.CutPrefix(line, "#"); ok {
			c.doc(strings.Fields(doc))
			continue
		}
		key, value, ok := strings.Cut(line, ":")
		if !ok {
			return fmt.Errorf("%q is neither a # comment nor key: value", line)
		}
		if err := c.set(key, strings.TrimSpace(value)); err != nil {
			return err
		}
	}
	return nil
}

func (c *Case) doc(words []string) {
	for len(words) > 0 && itemWord.MatchString(words[0]) {
		if item := strings.TrimSuffix(words[0], ","); !slices.Contains(c.Items, item) {
			c.Items = append(c.Items, item)
		}
		words = words[1:]
	}
	c.Doc = strings.TrimSpace(c.Doc + " " + strings.Join(words, " "))
}

func (c *Case) set(key, value string) error {
	kind, name, _ := strings.Cut(key, " ")
	pair := Pair{strings.TrimSpace(name), value}
	switch kind {
	case "args":
		words, err := splitWords(value)
		if err != nil {
			return fmt.Errorf("args: %w", err)
		}
		for _, w := range words {
			name, value, ok := strings.Cut(w, "=")
			if !ok {
				return fmt.Errorf("args: %q has no value", w)
			}
			c.Args = append(c.Args, Pair{name, value})
		}
	case "target":
		c.Target = value
	case "platform":
		c.Platform = value
	case "file":
		c.File = value
	case "context":
		c.Contexts = append(c.Contexts, pair)
	case "secret":
		c.Secrets = append(c.Secrets, pair)
	case "label":
		c.Labels = append(c.Labels, pair)
	case "add-host":
		c.Hosts = append(c.Hosts, pair)
	case "network":
		c.Network = value
	case "fails":
		c.Fails = value
	case "differs":
		c.Differs = value
	case "live":
		if value != "only" {
			return fmt.Errorf(`live: %q: must be "only"`, value)
		}
		c.LiveOnly = true
	default:
		return fmt.Errorf("unknown setting %q", key)
	}
	return nil
}

// files sorts the files of the archive into directories and applies their modes.
func (c *Case) files(files []txtar.File) error {
	modes := map[string][]byte{}
	for _, f := range files {
		if f.Name == "modes" {
			modes["context"] = f.Data
			continue
		}
		if dir, ok := strings.CutSuffix(f.Name, ".modes"); ok && !strings.Contains(dir, "/") {
			modes[dir] = f.Data
			continue
		}
		dir, rest, ok := strings.Cut(f.Name, "/")
		if ok && dir == "git" {
			repo, file, _ := strings.Cut(rest, "/")
			dir, rest = "git/"+repo, file
		}
		if !ok || f.Name == c.File || strings.HasPrefix(f.Name, c.File+".") {
			c.own[f.Name] = f.Data
			continue
		}
		if err := c.dir(dir).add(&entry{path: rest, kind: kindFile, mode: 0o644, data: f.Data}); err != nil {
			return err
		}
	}
	for dir, text := range modes {
		if err := c.dir(dir).modes(string(text)); err != nil {
			return fmt.Errorf("%s: %w", dir, err)
		}
	}
	return nil
}

// dockerfilePath is where the Dockerfile is when the case was written to dir.
func (c *Case) dockerfilePath(dir string) string {
	if _, ok := c.own[c.File]; ok {
		return filepath.Join(dir, filepath.FromSlash(c.File))
	}
	return filepath.Join(dir, "context", filepath.FromSlash(c.File))
}

func (c *Case) dir(name string) *fileset {
	if c.dirs[name] == nil {
		c.dirs[name] = newFileset()
	}
	return c.dirs[name]
}

// splitWords splits a line as a shell does: blanks separate, single and double quotes and a backslash protect.
func splitWords(line string) ([]string, error) {
	var words []string
	var word strings.Builder
	var quote byte
	in := false
	for i := 0; i < len(line); i++ {
		switch b := line[i]; {
		case quote == '\'' && b != '\'', quote == '"' && b != '"' && b != '\\':
			word.WriteByte(b)
		case quote != 0 && b == quote:
			quote = 0
		case b == '\'' || b == '"':
			quote, in = b, true
		case b == '\\' && i+1 < len(line):
			i++
			in = true
			word.WriteByte(line[i])
		case b == ' ' || b == '\t':
			if in {
				words = append(words, word.String())
				word.Reset()
				in = false
			}
		default:
			in = true
			word.WriteByte(b)
		}
	}
	if quote != 0 {
		return nil, fmt.Errorf("unclosed %c in %q", quote, line)
	}
	if in {
		words = append(words, word.String())
	}
	return words, nil
}
