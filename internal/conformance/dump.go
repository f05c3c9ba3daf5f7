package conformance

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// Line is one field or file of an image.
type Line struct{ Key, Value string }

// Dump is an image, or the failure of a build, as lines.
type Dump struct {
	// Base is the base that files are compared with: those that are the same are left out. "" for scratch.
	Base string
	// Failure is the message of a build that failed; then there are no lines.
	Failure string
	Lines   []Line
}

// Dumper makes dumps of images on the same bases. It is safe for concurrent use.
type Dumper struct {
	Bases *Bases

	flat flattener
}

// Dump describes the images of a build, one a platform. base is the name of the base that unchanged files are left out of, "" for none.
// With several platforms each key begins with the platform.
func (d *Dumper) Dump(images []v1.Image, base string) (*Dump, error) {
	dump := &Dump{Base: base}
	for i, img := range images {
		one, err := d.dump(img, base)
		if err != nil {
			return nil, err
		}
		prefix := ""
		if len(images) > 1 {
			platform, err := configPlatform(img)
			if err != nil {
				return nil, err
			}
			prefix = fmt.Sprintf("%d:%s:", i, platform)
		}
		for _, l := range one.Lines {
			dump.add(prefix+l.Key, l.Value)
		}
	}
	return dump, nil
}

func (d *Dumper) dump(img v1.Image, base string) (*Dump, error) {
	dump := &Dump{}
	config, err := img.RawConfigFile()
	if err != nil {
		return nil, err
	}
	if err := dump.config(config); err != nil {
		return nil, err
	}
	files, err := d.flat.flatten(img)
	if err != nil {
		return nil, err
	}
	var below tree
	if base != "" {
		platform, err := configPlatform(img)
		if err != nil {
			return nil, err
		}
		baseImage := d.Bases.variant(base, platform)
		if baseImage == nil {
			return nil, fmt.Errorf("no base %s", base)
		}
		if below, err = d.flat.flatten(baseImage); err != nil {
			return nil, err
		}
	}
	dump.files(files, below)
	return dump, nil
}

// BaseOf returns the name of the base whose layers an image begins with, "" when it is none.
func (d *Dumper) BaseOf(img v1.Image) (string, error) {
	platform, err := configPlatform(img)
	if err != nil {
		return "", err
	}
	file, err := img.ConfigFile()
	if err != nil {
		return "", err
	}
	best, layers := "", 0
	for _, name := range d.Bases.Names() {
		baseImage := d.Bases.variant(name, platform)
		if baseImage == nil {
			continue
		}
		base, err := baseImage.ConfigFile()
		if err != nil {
			return "", err
		}
		ids := base.RootFS.DiffIDs
		n := len(ids)
		if n == layers && d.Bases.Base(name).from != "" {
			continue // of bases with the same files the one that the others stand on
		}
		if n >= max(layers, 1) && n <= len(file.RootFS.DiffIDs) && slices.Equal(ids, file.RootFS.DiffIDs[:n]) {
			best, layers = name, n
		}
	}
	return best, nil
}

func configPlatform(img v1.Image) (string, error) {
	file, err := img.ConfigFile()
	if err != nil {
		return "", err
	}
	return file.Platform().String(), nil
}

// variant is the image of a base for a platform; of a base that is no index, its image.
func (b *Bases) variant(name, platform string) v1.Image {
	base := b.byName[name]
	if base == nil {
		return nil
	}
	if img := base.Images[platform]; img != nil || len(base.Platforms) > 1 {
		return img
	}
	return base.Images[base.Platforms[0]]
}

// config writes the fields of an image configuration, all but times and layers.
func (d *Dump) config(raw []byte) error {
	var top map[string]any
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.UseNumber()
	if err := decoder.Decode(&top); err != nil {
		return err
	}
	history, _ := top["history"].([]any)
	for _, name := range []string{"history", "created", "rootfs"} {
		delete(top, name)
	}
	for _, name := range slices.Sorted(maps.Keys(top)) {
		d.value(name, top[name])
	}
	for i, h := range history {
		fields, _ := h.(map[string]any)
		var text []string
		for _, name := range slices.Sorted(maps.Keys(fields)) {
			switch v := fields[name].(type) {
			case string:
				if name == "created_by" {
					text = append([]string{strconv.Quote(v)}, text...)
				} else if name != "created" {
					text = append(text, name+"="+strconv.Quote(v))
				}
			default:
				text = append(text, fmt.Sprintf("%s=%v", name, v))
			}
		}
		d.add(fmt.Sprintf("history[%d]", i), strings.Join(text, " "))
	}
	return nil
}

// value writes a JSON value, one line a leaf.
func (d *Dump) value(key string, v any) {
	switch v := v.(type) {
	case map[string]any:
		if len(v) == 0 {
			d.add(key, "{}")
		}
		for _, name := range slices.Sorted(maps.Keys(v)) {
			d.value(key+"."+keyText(name), v[name])
		}
	case []any:
		if len(v) == 0 {
			d.add(key, "[]")
		}
		for i, e := range v {
			d.value(fmt.Sprintf("%s[%d]", key, i), e)
		}
	case string:
		d.add(key, strconv.Quote(v))
	default:
		d.add(key, fmt.Sprint(v))
	}
}

// files writes what is not as in the base.
func (d *Dump) files(files, base tree) {
	names := map[*inode][]string{}
	baseNames := map[*inode][]string{}
	for _, pair := range []struct {
		t  tree
		by map[*inode][]string
	}{{files, names}, {base, baseNames}} {
		for _, name := range slices.Sorted(maps.Keys(pair.t)) {
			pair.by[pair.t[name]] = append(pair.by[pair.t[name]], name)
		}
	}
	all := maps.Clone(files)
	if all == nil {
		all = tree{}
	}
	maps.Copy(all, base)
	for _, name := range slices.Sorted(maps.Keys(all)) {
		now, before := files[name], base[name]
		switch {
		case now == nil:
			if files[path.Dir(name)] != nil || base[path.Dir(name)] == nil {
				d.add(keyText(name), "removed")
			}
		case before == nil || now.text(name, names[now]) != before.text(name, baseNames[before]):
			d.add(keyText(name), now.text(name, names[now]))
		}
	}
}

func (d *Dump) add(key, value string) { d.Lines = append(d.Lines, Line{key, value}) }

// keyText quotes a name that would not be one word.
func keyText(name string) string {
	if quoted := strconv.Quote(name); strings.ContainsAny(name, " =") || quoted[1:len(quoted)-1] != name || name == "" {
		return quoted
	}
	return name
}

var flagNames = map[byte]string{
	tar.TypeReg: "file", tar.TypeDir: "dir", tar.TypeSymlink: "link", tar.TypeFifo: "fifo", tar.TypeChar: "char", tar.TypeBlock: "block",
}

// text describes an inode that has the given sorted paths.
func (n *inode) text(name string, paths []string) string {
	words := []string{flagNames[n.flag], fmt.Sprintf("%04o %d:%d", n.mode, n.uid, n.gid)}
	switch n.flag {
	case tar.TypeReg:
		words = append(words, n.content)
	case tar.TypeSymlink:
		words = append(words, "-> "+strconv.Quote(n.target))
	case tar.TypeChar, tar.TypeBlock:
		words = append(words, n.device)
	}
	if n.flag != tar.TypeDir && len(paths) > 1 {
		var others []string
		for _, p := range paths {
			if p != name {
				others = append(others, keyText(p))
			}
		}
		words = append(words, "= "+strings.Join(others, " "))
	}
	for _, x := range slices.Sorted(maps.Keys(n.xattrs)) {
		words = append(words, fmt.Sprintf("%s=%q", x, n.xattrs[x]))
	}
	return strings.Join(words, " ")
}
