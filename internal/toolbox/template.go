package toolbox

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// The template's directory begins with an underscore, so that the go command does not take it for a package of this module, whose
// go.mod lacks what it imports; its go.mod and go.sum have another suffix, because a directory that holds a go.mod cannot be embedded.
//
//go:embed _template/*.go _template/go.mod.txt _template/go.sum.txt
var template embed.FS

// templateFiles calls f on each file of the template, under its name in the module, in byte order of names.
func templateFiles(f func(name string, content []byte) error) error {
	entries, err := fs.ReadDir(template, "_template")
	if err != nil {
		return err
	}
	for _, entry := range entries {
		content, err := fs.ReadFile(template, "_template/"+entry.Name())
		if err != nil {
			return err
		}
		// A checkout with CRLF line ends must not make another binary.
		content = bytes.ReplaceAll(content, []byte("\r\n"), []byte("\n"))
		if err := f(strings.TrimSuffix(entry.Name(), ".txt"), content); err != nil {
			return err
		}
	}
	return nil
}

// writeTemplate makes the module in dir, an existing directory.
func writeTemplate(dir string) error {
	return templateFiles(func(name string, content []byte) error {
		return os.WriteFile(filepath.Join(dir, name), content, 0o644)
	})
}

// keyVersion is part of every key; it changes when the build's flags do.
const keyVersion = 1

// buildKey names one build: the SHA-256, cut to 128 bits, of the version, the target and the length-delimited template.
func buildKey(goVersion, goarch string) string {
	h := sha256.New()
	fmt.Fprintf(h, "toolbox %d\n%q %q\n", keyVersion, goVersion, goarch)
	_ = templateFiles(func(name string, content []byte) error {
		fmt.Fprintf(h, "%q %d\n", name, len(content))
		h.Write(content)
		return nil
	})
	return hex.EncodeToString(h.Sum(nil)[:16])
}
