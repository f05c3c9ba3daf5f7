// Package registry pulls base images from registries and pushes finished ones, by the OCI distribution specification as every registry speaks
// it.
//
// The two calls to start with are [Push], a sink, and [NewClient], whose Resolve method finds a base image. [Client.Push] makes sinks that share
// connections and tokens.
//
// # Guarantees
//
//   - A resolved image reads its manifest and config only. A layer is streamed when it is opened, and verified against its digest.
//   - A push sends what the registry does not have and nothing else: one request for each name when the image is there already. Layers of a
//     base in the same registry are mounted, not sent. No layer that is there is opened.
//   - A request that fails in a way that may pass is repeated after a wait that grows, or that the registry asks for; an upload or a download
//     that breaks goes on where it stopped. Names are moved last: when something fails, none is, and when a name of several is refused, the
//     error says which were moved before it.
//   - One Client asks a host once what it is, and for one token for each repository and purpose.
//   - Only the registry that was named is asked, and the mirrors that Options name for it, with the hosts that it redirects or delegates to; the urls of a descriptor are never
//     fetched.
//   - Plain http is spoken with this machine only (127.0.0.0/8, ::1, localhost) and with the hosts listed in Options.Insecure.
//     Credentials are never sent over plain http to another machine, and follow no redirect to another host.
//   - Every wait on the network ends: when the context does, or when nothing has arrived for Options.Timeout.
//   - A manifest, a config or any other answer of more than 4 MiB is refused, a layer when it has more bytes than its descriptor says.
//
// # Limits
//
// Docker's image manifests of schema 1 (before 2016) are refused. A push interrupted half-way leaves blobs that nothing refers to, which
// registries collect; the name is moved last.
//
// # Concurrency
//
// A Client and a sink may be used by several goroutines at once.
package registry
