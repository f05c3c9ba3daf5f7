// Package child is the inner half of package namespaces: what a re-executed
// copy of the program does, from its own start until it becomes the command of
// the step. It is process 1 of new namespaces all that time and ends in execve
// or in an exit.
//
// The package has an init function, which in every other process compares one
// string and returns. It imports only the standard library and x/sys, so that
// the copy runs few init functions of other packages before this one.
//
// Nothing here trusts the root filesystem. Descriptors are held from a lookup
// to the mount made on its result; names are opened one element at a time,
// without following links; and no other process can see the root meanwhile.
package child
