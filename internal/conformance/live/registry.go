package live

import (
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/stagewright/stagewright/internal/conformance"
)

// serveBases serves the bases as an in-memory registry on address.
func serveBases(address string, bases *conformance.Bases) (*http.Server, error) {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("registry of the bases: %w", err)
	}
	s := &http.Server{Handler: registry.New(registry.Logger(log.New(io.Discard, "", 0))), ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = s.Serve(l) }()
	for _, base := range bases.Names() {
		if err := push(address, bases.Base(base)); err != nil {
			s.Close()
			return nil, fmt.Errorf("push base %s: %w", base, err)
		}
	}
	return s, nil
}

func push(address string, base *conformance.Base) error {
	ref, err := name.ParseReference(address+"/"+base.Name+":latest", name.Insecure)
	if err != nil {
		return err
	}
	if len(base.Platforms) == 1 {
		return remote.Write(ref, base.Images[base.Platforms[0]])
	}
	index := v1.ImageIndex(empty.Index)
	for _, text := range base.Platforms {
		p, err := v1.ParsePlatform(text)
		if err != nil {
			return err
		}
		index = mutate.AppendManifests(index, mutate.IndexAddendum{
			Add: base.Images[text], Descriptor: v1.Descriptor{Platform: p},
		})
	}
	return remote.WriteIndex(ref, index)
}
