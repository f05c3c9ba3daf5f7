package remote

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/stagewright/stagewright/cache"
	"github.com/stagewright/stagewright/image/layout"
	"github.com/stagewright/stagewright/image/registry"
)

// What zero Options mean.
const (
	DefaultTimeout      = 15 * time.Second
	DefaultCompactAfter = 32
)

// Options adjusts a [Store]. The zero value suits most.
type Options struct {
	// Client sends the requests of a store in a registry, with its connections, tokens and credentials. Nil is one of zero registry.Options.
	Client *registry.Client

	// MountFrom names repositories of the same registry that have some of the blobs, like that of the images whose layers are cached: what is there is not
	// sent once more.
	MountFrom []string

	// TempDir is where a directory is made for what waits to be sent, and for what was fetched. Empty is os.TempDir.
	TempDir string

	// Notice is told, once, why reading has failed, or the compaction after a Flush; nothing else comes of it. It is called by one goroutine of
	// those that read or flush.
	Notice func(error)

	// Timeout bounds reading: the whole of the index has to arrive within it, and of a blob a MiB each time. Zero is DefaultTimeout. Sending has the
	// timeouts of Client.
	Timeout time.Duration

	// CompactAfter is of how many manifests Flush makes one, as by [Store.Compact] without a MaxAge. Zero is DefaultCompactAfter, a negative number is
	// never.
	CompactAfter int
}

var namePattern = regexp.MustCompile(`^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,95}$`)

// Registry returns the cache NAME in a repository of a registry; ref is "registry.example.com/team/cache:NAME". Its manifests are under the tags NAME-…;
// other tags are left alone, and the tag NAME itself is never there. Nothing is sent before it is needed.
//
// The error is that of a bad reference.
func Registry(ref string, o Options) (*Store, error) {
	client := o.Client
	if client == nil {
		client = registry.NewClient(registry.Options{})
	}
	r, err := client.Repository(ref)
	if err != nil {
		return nil, err
	}
	if strings.Contains(r.Tag(), ":") {
		return nil, fmt.Errorf("the cache %s: a digest names one manifest, and a cache has many; write a tag", ref)
	}
	return open(&inRegistry{r, o.MountFrom}, "cache "+r.String(), r.Tag(), o)
}

// Layout returns the cache NAME in an OCI image layout: a directory that need not be there before the first Flush. An empty name is "cache". Other
// rows of the layout are left alone. A plain directory, of no other format than this library's, is [cache.OpenDisk].
func Layout(dir, name string, o Options) (*Store, error) {
	if dir == "" {
		return nil, errors.New("the cache in an OCI layout has no path; name a directory")
	}
	if name == "" {
		name = "cache"
	}
	d := layout.OpenDirectory(dir)
	return open(&inLayout{d}, "cache "+name+" in the "+d.String(), name, o)
}

func open(m medium, title, name string, o Options) (*Store, error) {
	if !namePattern.MatchString(name) {
		return nil, fmt.Errorf("%s: %q is no name of a cache; it is the beginning of tags: at most 96 letters, digits and ._-", title, name)
	}
	if o.Timeout <= 0 {
		o.Timeout = DefaultTimeout
	}
	if o.CompactAfter == 0 {
		o.CompactAfter = DefaultCompactAfter
	}
	s := &Store{medium: m, title: title, name: name, options: o, now: time.Now}
	s.reading = reading{turn: make(chan struct{}, 1), parts: map[string]*part{}, lost: map[cache.Digest]bool{}}
	s.pending = pending{dir: o.TempDir, records: map[cache.Key]*record{}, blobs: map[cache.Digest]*waiting{}}
	s.sending = make(chan struct{}, 1)
	s.trouble.tell = o.Notice
	s.trouble.title = title
	return s, nil
}
