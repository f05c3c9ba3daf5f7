// Package absent recognises values of interfaces that are there and have nothing in them.
package absent

import "reflect"

// Is reports whether v is nil, or an interface around a nil pointer or a nil function: what a call
// through the interface would most likely panic of. A nil map or slice is a value like any other.
func Is(v any) bool {
	r := reflect.ValueOf(v)
	switch r.Kind() {
	case reflect.Invalid:
		return true
	case reflect.Pointer, reflect.Func:
		return r.IsNil()
	}
	return false
}

// Index returns the place of the first of the values that is absent, or -1.
func Index[T any](values []T) int {
	for i, v := range values {
		if Is(v) {
			return i
		}
	}
	return -1
}
