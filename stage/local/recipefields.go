package local

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/stagewright/stagewright/cache"
	"github.com/stagewright/stagewright/internal/tree"
	"github.com/stagewright/stagewright/stage"
)

// recipeInfo is what a record keeps of the recipe of its key, so that a later build can
// tell what is another. Nothing is ever looked up by it.
type recipeInfo struct {
	Op     string       `json:"op"` // as stage.Step.Kind
	Text   string       `json:"text"`
	Parent cache.Key    `json:"parent,omitzero"`
	Inputs []cache.Key  `json:"inputs,omitempty"` // keys of the steps that it reads
	Fields []recipeItem `json:"fields,omitempty"` // all other fields
	// Listings are blobs with what local directories had that it was given as mounts, by the mounts'
	// targets. What a copy took is in the changes of its record.
	Listings map[string]cache.Digest `json:"listings,omitempty"`
}

// recipeItem is one field, or one element of a list: what it is, which one, what of it, and
// the value, of which little is kept when it is long.
type recipeItem [4]string

func (i recipeItem) what() string  { return i[0] }
func (i recipeItem) value() string { return i[3] }

// name is what tells an item from others of one recipe.
func (i recipeItem) name() [3]string { return [3]string(i[:3]) }

// Limits of what a record keeps of a recipe: the values of most fields, a command, and all
// together. What is beyond is there as a digest.
const (
	maxItem    = 256
	maxCommand = 1 << 10
	maxItems   = 16 << 10
	maxText    = 120
)

// describeRecipe returns what the record of a step keeps of its recipe.
func (s *session) describeRecipe(ctx context.Context, step *stage.Step) (json.RawMessage, error) {
	if s.planning {
		return nil, nil
	}
	info, err := s.recipeInfo(step)
	if err != nil {
		return nil, err
	}
	if err := s.putListings(ctx, step, info); err != nil {
		return nil, err
	}
	return json.Marshal(info)
}

// recipeInfo describes the recipe of a step, but for its listings.
func (s *session) recipeInfo(step *stage.Step) (*recipeInfo, error) {
	b, err := s.recipe(step, s.keys, cache.NewExplainedKey)
	if err != nil {
		return nil, err
	}
	info := &recipeInfo{Op: step.Kind(), Text: shortened(step.Text, maxText)}
	r := itemReader{info: info, args: argNames(step)}
	for i, f := range b.Fields() {
		if i == 0 {
			r.add("recipe", "", "", f.Value)
			continue
		}
		r.field(f.Label, f.Value)
	}
	if op, ok := step.Op.(*stage.BaseOp); ok {
		for i, item := range info.Fields {
			if item.what() == "image" {
				info.Fields[i][3] = op.Ref + "@" + item.value()
			}
		}
	}
	info.Fields = bounded(info.Fields)
	return info, nil
}

func argNames(step *stage.Step) map[string]bool {
	names := map[string]bool{}
	if op, ok := step.Op.(*stage.RunOp); ok {
		for _, a := range op.Args {
			name, _, _ := strings.Cut(a, "=")
			names[name] = true
		}
	}
	return names
}

// itemReader makes items of the fields of a key.
type itemReader struct {
	info  *recipeInfo
	args  map[string]bool
	mount string // the target of the mount whose fields these are
	kind  string // its type
	file  string // the name of the file whose digest comes next
}

// wordFor is what users call a field.
func wordFor(label string) string {
	switch label {
	case "text":
		return "script"
	case "dest":
		return "destination"
	case "dir":
		return "working directory"
	case "chown":
		return "owner"
	case "digest":
		return "image"
	case "input":
		return "standard input"
	case "parents of":
		return "paths"
	case "allowed":
		return "allowed exit code"
	}
	return label
}

func (r *itemReader) add(what, name, aspect, value string) {
	r.info.Fields = append(r.info.Fields, recipeItem{what, name, aspect, value})
}

func (r *itemReader) field(label, value string) {
	switch label {
	case "parent":
		r.info.Parent, _ = cache.ParseKey(value)
	case "source":
		key, _ := cache.ParseKey(value)
		r.info.Inputs = append(r.info.Inputs, key)
	case "epoch":
		if n, err := strconv.ParseInt(value, 10, 64); err == nil {
			value = time.Unix(n, 0).UTC().Format(time.RFC3339)
		}
		r.add("epoch", "", "", value)
	case "argv":
		r.add("command", "", "", command(list(value)))
	case "env":
		for _, e := range list(value) {
			name, value, _ := strings.Cut(e, "=")
			what := "ENV"
			if r.args[name] {
				what = "ARG"
			}
			r.add(what, name, "", value)
		}
	case "mount":
		r.kind = text(value)
	case "target":
		if r.kind == "" { // of a link
			r.add("target", "", "", text(value))
			return
		}
		r.mount = text(value)
		r.add("mount", r.mount, "", r.kind)
	case "inline", "name":
		if r.info.Op == "copy" || r.mount != "" {
			r.file = text(value)
			return
		}
		r.other(label, value)
	case "file", "content":
		if r.info.Op == "file" {
			r.other(label, value)
			return
		}
		r.add("file", r.file, r.mount, value)
	case "matches", "below", "directory", "together":
		r.add("file", r.file, label, value)
	case "text":
		// Most scripts are in the command line.
		if script := text(value); !slices.ContainsFunc(r.info.Fields, func(i recipeItem) bool { return i.what() == "command" && strings.Contains(i.value(), script) }) {
			r.other(label, value)
		}
	default:
		r.other(label, value)
	}
}

func (r *itemReader) other(label, value string) {
	switch {
	case strings.HasPrefix(value, "["):
		value = words(list(value))
	case label == "mode":
		if n, err := strconv.ParseUint(value, 10, 32); err == nil {
			value = fmt.Sprintf("%04o", n)
		}
	default:
		value = text(value)
	}
	if r.mount != "" {
		r.add("mount", r.mount, label, value)
		return
	}
	r.add(wordFor(label), "", "", value)
}

// text is a value as it was before it was quoted.
func text(value string) string {
	if s, err := strconv.Unquote(value); err == nil {
		return s
	}
	return value
}

// list is a list as it was before it was quoted.
func list(value string) (items []string) {
	value = strings.TrimPrefix(value, "[")
	for {
		quoted, err := strconv.QuotedPrefix(value)
		if err != nil {
			return items
		}
		items = append(items, text(quoted))
		value = strings.TrimPrefix(value[len(quoted):], " ")
	}
}

// command is a command line as it was written.
func command(argv []string) string {
	if len(argv) == 3 && argv[0] == "/bin/sh" && strings.HasPrefix(argv[1], "-") {
		return strings.TrimPrefix(argv[1]+" ", "-c ") + argv[2]
	}
	return words(argv)
}

// words joins words so that their ends can be told.
func words(list []string) string {
	spelled := make([]string, len(list))
	for i, word := range list {
		odd := func(r rune) bool { return !strconv.IsGraphic(r) || strings.ContainsRune(" \"'\\`", r) }
		if spelled[i] = word; word == "" || strings.ContainsFunc(word, odd) {
			spelled[i] = strconv.Quote(word)
		}
	}
	return strings.Join(spelled, " ")
}

// bounded shortens what is long.
func bounded(items []recipeItem) []recipeItem {
	left := maxItems
	for i := range items {
		limit := maxItem
		if w := items[i].what(); w == "command" || w == "script" {
			limit = maxCommand
		}
		items[i][1] = digested(items[i][1], maxItem)
		items[i][3] = digested(items[i][3], limit)
		for _, s := range items[i] {
			left -= len(s) + len(`"",`)
		}
		if left < 0 {
			rest := sha256.New()
			for _, item := range items[i:] {
				fmt.Fprintf(rest, "%q", item)
			}
			return append(items[:i:i], recipeItem{"further fields", "", "", strconv.Itoa(len(items)-i) + ", " + hex.EncodeToString(rest.Sum(nil)[:16])})
		}
	}
	return items
}

// digested is a value of a bounded length that is another for another value.
func digested(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	sum := sha256.Sum256([]byte(s))
	return fmt.Sprintf("%s… (%d bytes, %x)", cut(s, limit/2), len(s), sum[:16])
}

func shortened(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	return cut(s, limit) + "…"
}

// cut is the beginning of a text, without half a character at the end.
func cut(s string, limit int) string {
	for limit > 0 && !utf8.RuneStart(s[limit]) {
		limit--
	}
	return s[:limit]
}

// maxListing bounds the listing of one mount that is kept.
const maxListing = 100_000

// putListings keeps what the local directories have that a step is given as mounts.
func (s *session) putListings(ctx context.Context, step *stage.Step, info *recipeInfo) error {
	op, ok := step.Op.(*stage.RunOp)
	if !ok {
		return nil
	}
	for i, m := range op.Mounts {
		l := s.sources.of(slot{step.ID, i})
		if l == nil || m.Type != stage.MountBind {
			continue
		}
		changes, err := mounted(l, m.Path)
		if err != nil || len(changes) > maxListing {
			continue
		}
		d, err := cache.PutBlob(ctx, s.opts.Store, tree.Marshal(changes))
		if err != nil {
			return fmt.Errorf("local: cache: %w", err)
		}
		if info.Listings == nil {
			info.Listings = map[string]cache.Digest{}
		}
		info.Listings[m.Target] = d
	}
	return nil
}

// mounted lists what a mount of a local source has, by paths in the source.
func mounted(l *localSource, p string) ([]tree.Change, error) {
	picked, _, err := literalPath().pick(l.root, p)
	if err != nil || len(picked) == 0 {
		return nil, err
	}
	e := tree.Edit(nil)
	if picked[0].node.IsDir() {
		return tree.Diff(nil, picked[0].node), nil
	}
	err = e.Graft().Put(picked[0].base(), picked[0].node)
	return tree.Diff(nil, e.Tree()), err
}
