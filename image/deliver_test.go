package image_test

import (
	"context"
	"errors"
	"testing"

	"github.com/stagewright/stagewright/image"
)

// telling is a Reporter that moves one blob.
type telling struct{ image.SinkFunc }

func (telling) String() string { return "here" }

func (s telling) Deliver(ctx context.Context, a image.Artifact, tell func(image.Transfer)) (image.Delivery, error) {
	tell(image.Transfer{What: "sha256:1", Done: 1, Total: 2})
	return image.Delivery{Sink: s.String(), How: "moved", Blobs: 1}, s.Write(ctx, a)
}

func TestDeliver(t *testing.T) {
	broken := errors.New("broken")
	writes := 0
	plain := image.SinkFunc(func(context.Context, image.Artifact) error {
		writes++
		return broken
	})
	d, err := image.Deliver(t.Context(), plain, image.Artifact{}, nil)
	if !errors.Is(err, broken) || writes != 1 || d.Sink != "image.SinkFunc" || d.How != "written" {
		t.Errorf("%d writes, %+v, %v", writes, d, err)
	}
	var told []image.Transfer
	for _, tell := range []func(image.Transfer){nil, func(m image.Transfer) { told = append(told, m) }} {
		d, err = image.Deliver(t.Context(), telling{plain}, image.Artifact{}, tell)
		if !errors.Is(err, broken) || d.Sink != "here" || d.Blobs != 1 {
			t.Errorf("%+v, %v", d, err)
		}
	}
	if writes != 3 || len(told) != 1 || told[0].Total != 2 {
		t.Errorf("%d writes, told %+v", writes, told)
	}
}
