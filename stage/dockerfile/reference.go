package dockerfile

import (
	"regexp"
	"strings"
)

// reference is the grammar of image references (distribution/reference): an optional
// registry, a path, an optional tag and an optional digest.
var reference = regexp.MustCompile(`^(?:(?:localhost|\[[a-fA-F0-9:]+\]|[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?(?:\.[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?)*)(?::[0-9]+)?/)?` +
	`[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*` +
	`(?::[\w][\w.-]{0,127})?(?:@[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,})?$`)

// isReference reports whether a text can name an image.
func isReference(s string) bool {
	if len(s) == 64 && strings.Trim(s, "0123456789abcdef") == "" {
		return false // it looks like an image's id
	}
	return reference.MatchString(s)
}
