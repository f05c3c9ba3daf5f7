// Package archtest holds no code: its tests are the rules of this module that a compiler does not know.
//
// Each rule is a line of data under testdata, with its reason, and each check is run on a module made to break it too:
//
//	imports.txt     which package may import which, of ours and of others; the order of the lines is the direction
//	modules.txt     every module that go.mod may name, and which of them a user of stage, arg and platform gets
//	exceptions.txt  where a habit of libraries (no logging, no environment, no state, ...) does not hold, and why
//	noexample.txt   exported functions that no checked example uses; the list may only shrink
//	api/            the exported names of every public package
//
// After a change of the exported API, have the listings written anew and read the difference:
//
//	go test ./internal/archtest -update
//
// Nobody edits the other files to fix a build: they change when the design does.
package archtest
