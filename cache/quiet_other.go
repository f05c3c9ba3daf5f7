//go:build !linux

package cache

const quietFlags = 0
