package cache

import (
	"fmt"
	"path/filepath"
)

// Name is what messages call a store: what its String method says, as that of package cache/remote, or where it is.
func Name(s Store) string {
	if named, ok := s.(fmt.Stringer); ok {
		return named.String()
	}
	if dir, ok := Dir(s); ok {
		return "cache in " + filepath.Dir(dir)
	}
	return fmt.Sprintf("cache %T", s)
}
