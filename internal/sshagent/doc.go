// Package sshagent gives a build step the use of SSH keys without the keys: what
// stands at the other end of the socket that the step sees is an agent that lists
// identities and signs, and refuses everything else.
//
// The call to start with is [Open]; what it returns answers one connection.
//
// # Guarantees
//
// A step cannot add, remove or lock keys, and can use no extension of the
// protocol, whether the agent is one of this machine or holds keys in this process.
// Private keys are never written anywhere.
//
// # Limits
//
// A step can have anything signed while it runs: that is what an agent is for. Keys
// with a passphrase are refused; load them into an agent first.
//
// # Concurrency
//
// What Open returns may be called concurrently.
package sshagent
