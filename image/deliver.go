package image

import (
	"context"
	"fmt"
)

// Reporter is a [Sink] that says what it does. [Deliver] uses it where a sink has it; Write does the same and says nothing.
type Reporter interface {
	Sink
	// Deliver does what Write does, with Write's guarantees and errors. tell, which may be nil, is called whenever a noticeable part of a
	// blob has moved, by any goroutine, several at once, and not after Deliver has returned.
	Deliver(ctx context.Context, a Artifact, tell func(Transfer)) (Delivery, error)
}

// Checker is a [Sink] that can say before an image is built that it could not take it.
type Checker interface {
	Sink
	// Check returns what is wrong with the sink whatever it is given: a name that does not parse, a path that is missing. It looks at
	// nothing outside the sink and asks nobody.
	Check() error
}

// Pusher is a [Sink] that sends to other machines: a build that is offline refuses it before it begins.
type Pusher interface {
	Sink
	// Pushes names whom it sends to: "registry.example.com".
	Pushes() string
}

// Transfer is how far the bytes of one blob have come.
type Transfer struct {
	What  string // the blob's digest, or what else moves
	Done  int64  // bytes
	Total int64  // bytes; 0 when unknown
}

// Delivery is what a sink did with an artifact. Fields that a sink cannot know are zero.
type Delivery struct {
	Sink    string   `json:"sink"`              // where to, as the sink's String method says: "registry ghcr.io/team/app:1.0"
	How     string   `json:"how"`               // in words: "pushed", "there already"
	Refs    []string `json:"refs,omitempty"`    // the names that the artifact has there now
	Blobs   int      `json:"blobs,omitempty"`   // how many were sent or written, manifests included
	Bytes   int64    `json:"bytes,omitempty"`   // of those blobs
	Skipped int      `json:"skipped,omitempty"` // blobs that were there already, or that the destination took from elsewhere itself
}

// Deliver hands a to s and returns what s says of it. Of a sink that is no [Reporter], the delivery has its name and "written". tell may
// be nil.
func Deliver(ctx context.Context, s Sink, a Artifact, tell func(Transfer)) (Delivery, error) {
	if tell == nil {
		tell = func(Transfer) {}
	}
	if r, ok := s.(Reporter); ok {
		return r.Deliver(ctx, a, tell)
	}
	return Delivery{Sink: SinkName(s), How: "written"}, s.Write(ctx, a)
}

// SinkName is what messages call a sink: what its String method says, or its type.
func SinkName(s Sink) string {
	if named, ok := s.(fmt.Stringer); ok {
		return named.String()
	}
	return fmt.Sprintf("%T", s)
}
