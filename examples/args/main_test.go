package main

import (
	"testing"

	"github.com/stagewright/stagewright/examples/internal/exampletest"
)

func TestRun(t *testing.T) {
	exampletest.Run(t, run, `
1.4.2 [APP_MODE=production] map[8080/tcp:{}]
2.0.0 [APP_MODE=development] map[9090/tcp:{}]
main.go:35: stage app: ARG MODE: argument MODE is "prod", want one of "development", "production"; did you mean "production"?
main.go:35: stage app: ARG PORT: argument PORT is "80", want integer from 1024 to 65535
a value is given for the argument MOD, which no stage that is built declares; did you mean MODE?
main.go:37: stage app: COPY app-2.0.1.sh /app: app-2.0.1.sh is not in file system context; near names are app-2.0.0.sh, app-1.4.2.sh
`)
}
