package source

import (
	"mime"
	"net/http"
	"net/url"
	"path"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Unnamed is the name of a file whose URL and server give none, as in Docker.
const Unnamed = "__unnamed__"

// name decides what the file is called.
func (h *HTTPFile) name(d *downloaded) string {
	switch {
	case h.o.Name != "":
		return h.o.Name
	case d.Name != "" && !h.o.NameFromURL && isFileName(d.Name):
		return d.Name
	}
	return urlName(h.url)
}

// urlName is the last part of a URL's path.
func urlName(u *url.URL) string {
	if base := path.Base(u.Path); isFileName(base) {
		return base
	}
	return Unnamed
}

// dispositionName is the file name in Content-Disposition (RFC 6266), of which only the
// last part of a path counts; empty when there is none that a file can have.
func dispositionName(h http.Header) string {
	_, params, err := mime.ParseMediaType(header(h, "Content-Disposition"))
	name := params["filename"]
	if err != nil || name == "" || strings.HasSuffix(name, "/") {
		return ""
	}
	if name = strings.TrimSpace(path.Base(name)); !isFileName(name) {
		return ""
	}
	return name
}

// isFileName reports whether one file can be called so on every system that builds.
func isFileName(name string) bool {
	const most = 255 // NAME_MAX
	switch name {
	case "", ".", "..":
		return false
	}
	return len(name) <= most && utf8.ValidString(name) && !strings.ContainsRune(name, '/') && !strings.ContainsFunc(name, unicode.IsControl)
}
