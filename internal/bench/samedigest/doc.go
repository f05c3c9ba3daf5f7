// Package samedigest holds the program in fixture to one digest: compiled with every Go toolchain of testdata/toolchains.txt, run as root
// and as an ordinary user, with its cache on a disk and on tmpfs. The digests are those of testdata/golden.txt.
//
//	go test ./samedigest                     # in internal/bench
//	go test ./samedigest -user somebody      # as another ordinary user than nobody
//	go test ./samedigest -update             # after a change that is meant to change what is built
package samedigest
