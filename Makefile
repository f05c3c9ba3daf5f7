# Everything here is also what .ci/run does; see that script for the order and the
# machine that it needs.

.PHONY: test quickstart lint race cross api bench interop soak ci

test:
	go test ./...

quickstart:
	go run ./examples/quickstart

lint:
	test -z "$$(gofmt -l .)"
	go vet ./...
	go run honnef.co/go/tools/cmd/staticcheck@v0.8.2 ./...

race:
	go test -race -short ./...

cross:
	GOOS=darwin go vet ./...
	GOOS=windows go vet ./...

# Writes the golden listing of the exported API.
api:
	go test ./internal/archtest -update

bench:
	go test -run '^$$' -bench . -benchmem ./...

# Docker, Podman, containerd, skopeo, umoci and Debian's registry read what we write. Root; installs Debian packages.
interop:
	.ci/interop

# Builds that are killed, damaged, starved of room: what go test samples, in full. For hours; Linux, all of it only as root with strace.
# SOAK names a test or a part (TestFaults/Damage), SEED what a failure logged.
soak:
	go test ./internal/faulttest -count 1 -timeout 24h -v -soak -run "$(or $(SOAK),.)" -seed $(or $(SEED),0)

# stagewright and BuildKit side by side; see internal/bench/README.md.
bench-compare:
	cd internal/bench && go run .

ci:
	.ci/run
