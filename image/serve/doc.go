// Package serve gives built images to whoever speaks the pull side of the registry protocol: `docker pull localhost:PORT/app`, containerd,
// podman, skopeo, the client of a test. Nothing is pushed and nothing is stored: an image is built when somebody asks for its name.
//
// The two calls to start with are [New], whose [Source] is called for each name that a client asks for, and [Images], for images that exist
// already. Both return a [Handler], which is an http.Handler for the paths below /v2/:
//
//	h := serve.New(serve.Options{Source: build})
//	http.ListenAndServe("127.0.0.1:5000", h)
//
// # Guarantees
//
//   - Requests for one name that come at the same time are one call of Source. It goes on when a client goes away and another still waits,
//     and its context ends when none does.
//   - A layer is opened when a client asks for its bytes, and not before: HEAD opens none.
//   - Bytes are verified while they are sent. A blob that is not what its digest says ends with a broken connection, never as a whole one.
//   - What a client began to pull it can finish: manifests and blobs stay while their artifact is held, see Options.Keep.
//   - A blob is given under the repositories whose images have it, and under no other.
//
// # Protocol
//
// It is the OCI distribution specification 1.1, "Pull" and "Content Discovery": manifests by tag and digest, blobs with single ranges, tags,
// referrers; errors are the specification's JSON. Pushing, deleting and mounting are answered with UNSUPPORTED. A manifest has one form: to
// a client whose Accept header has no place for it, it is unknown.
//
// # Limits
//
// There is no authentication: who can connect can pull, so listen on a loopback address, or put what checks users before the handler. Source
// does not see the request, because its answer goes to all who wait for it. Deadlines of slow clients are those of the http.Server.
//
// A Handler may be used by several goroutines at once.
package serve
