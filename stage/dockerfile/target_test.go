package dockerfile_test

import (
	"context"
	"testing"

	"github.com/stagewright/stagewright/stage"
	"github.com/stagewright/stagewright/stage/dockerfile"
)

func compile(t *testing.T, text, target string) *stage.Graph {
	t.Helper()
	f, err := dockerfile.Parse("Dockerfile", []byte(text), dockerfile.Options{})
	if err != nil {
		t.Fatal(err)
	}
	s, err := f.Target(target)
	if err != nil {
		t.Fatal(err)
	}
	g, err := stage.Compile(context.Background(), []stage.Stage{s}, stage.Options{OnBuild: f.OnBuild})
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func TestSmoke(t *testing.T) {
	g := compile(t, `# syntax=docker/dockerfile:1
ARG GO=1.26
ARG VARIANT=alpine
FROM --platform=$BUILDPLATFORM golang:${GO}-${VARIANT} AS build
ARG TARGETOS TARGETARCH
WORKDIR /src
COPY go.mod go.sum ./
RUN --mount=type=cache,target=/go/pkg/mod,mode=0700,uid=${X:-7} go mod download
ADD https://example.com/a.tgz b /x/
RUN <<EOF
echo hi
EOF
RUN <<EOF
#!/bin/sh
echo hi
EOF
COPY <<A <<'B' /etc/
a $GO
A
b $GO
B
FROM scratch
COPY --from=build --chown=1:2 --chmod=755 /src/app /app
ENV A=1 B="two words" C=$A
EXPOSE 80 443/udp
HEALTHCHECK --interval=5s CMD true
ENTRYPOINT ["/app"]
`, "")
	for _, s := range g.Steps() {
		t.Log(s.Pos(), s.Stage, s.History)
	}
}
