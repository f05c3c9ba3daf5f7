//go:build !linux

package cache

func spread(string) {}
