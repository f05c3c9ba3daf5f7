package main

import (
	"testing"

	"github.com/stagewright/stagewright/examples/internal/exampletest"
	"github.com/stagewright/stagewright/stage/stagetest"
)

func TestRun(t *testing.T) {
	stagetest.NeedsSandbox(t)
	exampletest.Run(t, run, `
RUN /bin/sh -c echo 'library' > deps
RUN |1 TARGETARCH=arm64 /bin/sh -c mkdir /out && echo "code for $TARGETARCH" | cat - deps app.src > /out/app && chmod 755 /out/app
RUN |1 TARGETARCH=amd64 /bin/sh -c mkdir /out && echo "code for $TARGETARCH" | cat - deps app.src > /out/app && chmod 755 /out/app
linux/arm64: 1 layers, sha256:efb3bb77c793da50f0631ae991ba1c214c42e19ed4a81239dadeefddc28f8f24
linux/amd64: 2 layers, sha256:1addcab9d32f3b7d1e15ed8c20ada6bf5fb88c9fa699afdd57c9329d0ac35aba
index: sha256:be27999f1769a9ac372ea1844cd9ca7384c8e6fd11975f688499f7604c49b987
`)
}
