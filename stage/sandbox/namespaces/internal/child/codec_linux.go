package child

import (
	"encoding/binary"
	"errors"
	"fmt"
	"reflect"
)

// The encoding of messages: numbers as 8 bytes, little-endian; strings and
// slices as their length and then their content; structs and arrays as their
// elements; a pointer as a slice of none or one. Both ends are the same
// program, so there are no names and no versions. JSON would not carry
// arguments and paths that are not UTF-8.

var errTruncated = errors.New("a message ends too early")

func appendValue(b []byte, v reflect.Value) []byte {
	switch v.Kind() {
	case reflect.Bool:
		n := uint64(0)
		if v.Bool() {
			n = 1
		}
		return binary.LittleEndian.AppendUint64(b, n)
	case reflect.Int, reflect.Int64:
		return binary.LittleEndian.AppendUint64(b, uint64(v.Int()))
	case reflect.Uint32, reflect.Uint64, reflect.Uintptr:
		return binary.LittleEndian.AppendUint64(b, v.Uint())
	case reflect.String:
		b = binary.LittleEndian.AppendUint64(b, uint64(v.Len()))
		return append(b, v.String()...)
	case reflect.Slice:
		b = binary.LittleEndian.AppendUint64(b, uint64(v.Len()))
		if v.Type().Elem().Kind() == reflect.Uint8 {
			return append(b, v.Bytes()...)
		}
		fallthrough
	case reflect.Array:
		for i := range v.Len() {
			b = appendValue(b, v.Index(i))
		}
	case reflect.Pointer:
		if v.IsNil() {
			return binary.LittleEndian.AppendUint64(b, 0)
		}
		return appendValue(binary.LittleEndian.AppendUint64(b, 1), v.Elem())
	case reflect.Struct:
		for i := range v.NumField() {
			b = appendValue(b, v.Field(i))
		}
	}
	return b
}

// takeValue fills v from the front of b and returns the rest.
func takeValue(b []byte, v reflect.Value) ([]byte, error) {
	var err error
	switch v.Kind() {
	case reflect.Array:
		for i := 0; i < v.Len() && err == nil; i++ {
			b, err = takeValue(b, v.Index(i))
		}
		return b, err
	case reflect.Struct:
		for i := 0; i < v.NumField() && err == nil; i++ {
			b, err = takeValue(b, v.Field(i))
		}
		return b, err
	}
	if len(b) < 8 {
		return nil, errTruncated
	}
	n := binary.LittleEndian.Uint64(b)
	b = b[8:]
	switch v.Kind() {
	case reflect.Bool:
		v.SetBool(n != 0)
	case reflect.Int, reflect.Int64:
		v.SetInt(int64(n))
	case reflect.Uint32, reflect.Uint64, reflect.Uintptr:
		v.SetUint(n)
	case reflect.Pointer:
		if n != 0 {
			v.Set(reflect.New(v.Type().Elem()))
			return takeValue(b, v.Elem())
		}
	case reflect.String, reflect.Slice:
		return takeList(b, v, n)
	default:
		return nil, fmt.Errorf("a message cannot have a %s", v.Kind())
	}
	return b, nil
}

func takeList(b []byte, v reflect.Value, n uint64) ([]byte, error) {
	size := uint64(8) // at least, of an element
	if v.Kind() == reflect.String || v.Type().Elem().Kind() == reflect.Uint8 {
		size = 1
	}
	if n > uint64(len(b))/size {
		return nil, errTruncated
	}
	switch {
	case v.Kind() == reflect.String:
		v.SetString(string(b[:n]))
		return b[n:], nil
	case v.Type().Elem().Kind() == reflect.Uint8:
		v.SetBytes(b[:n:n])
		return b[n:], nil
	case n == 0:
		return b, nil
	}
	v.Set(reflect.MakeSlice(v.Type(), int(n), int(n)))
	var err error
	for i := 0; i < int(n) && err == nil; i++ {
		b, err = takeValue(b, v.Index(i))
	}
	return b, err
}
