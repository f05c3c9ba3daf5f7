package main

import (
	"bytes"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
)

// write writes one file of a context.
func write(dir, name string, data []byte) error {
	path := filepath.Join(dir, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, data, 0o644)
}

// replaceAfter puts insert after the first text, in place of what an earlier call put there (up to a full stop).
func replaceAfter(data []byte, text, insert string) []byte {
	before, after, ok := bytes.Cut(data, []byte(text))
	if !ok {
		return data
	}
	if bytes.HasPrefix(after, []byte(", edit ")) {
		if _, rest, ok := bytes.Cut(after, []byte(".")); ok {
			after = rest
		}
	}
	return bytes.Join([][]byte{before, []byte(text), []byte(insert), after}, nil)
}

// text returns n bytes that look like source code to a compressor: words of a small vocabulary, some of them numbers.
func text(random *rand.Rand, n int) []byte {
	words := strings.Fields("func return if err != nil { } for range := string int byte struct type context image stage layer tree copy run cache key digest")
	b := make([]byte, 0, n+16)
	for len(b) < n {
		if random.IntN(8) == 0 {
			b = fmt.Appendf(b, "%x", random.Uint64())
		} else {
			b = append(b, words[random.IntN(len(words))]...)
		}
		b = append(b, " \n"[random.IntN(2)])
	}
	return b[:n]
}

// noise returns n bytes that no compressor makes smaller.
func noise(random *rand.Rand, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(random.Uint32())
	}
	return b
}

func newRandom(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 0)) }

func makeNothing(dir string, _ inputs) error { return write(dir, "file", []byte("first\n")) }

// makeGraph is a Dockerfile of 10,000 steps in 1,000 stages and one more.
func makeGraph(dir string, _ inputs) error {
	var b, gather bytes.Buffer
	for i := range 1000 {
		fmt.Fprintf(&b, "FROM scratch AS s%d\n", i)
		for j := range 9 {
			from := fmt.Sprintf("files/%d", j)
			if i == 0 && j == 0 {
				from = "file"
			}
			fmt.Fprintf(&b, "COPY %s /out/%d-%d\n", from, i, j)
		}
		fmt.Fprintf(&gather, "COPY --from=s%d /out /all/\n", i)
	}
	fmt.Fprintf(&b, "FROM scratch AS all\n%sFROM scratch\nCOPY --from=all /all /all\n", gather.Bytes())
	for j := range 9 {
		if err := write(dir, fmt.Sprintf("files/%d", j), fmt.Appendf(nil, "file %d\n", j)); err != nil {
			return err
		}
	}
	if err := write(dir, "file", []byte("first\n")); err != nil {
		return err
	}
	return write(dir, "Dockerfile", b.Bytes())
}

func makeFew(dir string, _ inputs) error {
	random := newRandom(1)
	for i := range 10 {
		if err := write(dir, fmt.Sprintf("a/%d", i), text(random, 4000)); err != nil {
			return err
		}
	}
	for _, arch := range []string{"amd64", "arm64"} {
		if err := write(dir, arch+".conf", []byte(arch)); err != nil {
			return err
		}
	}
	return write(dir, "Dockerfile", []byte("FROM scratch\nARG TARGETARCH\nCOPY a /srv/a\nCOPY ${TARGETARCH}.conf /etc/app.conf\n"))
}

func makeTree(dir string, in inputs) error {
	for _, name := range []string{"cmd", "runtime", "crypto", "net"} {
		if err := copyTree(filepath.Join(dir, "src", name), filepath.Join(in.goroot, "src", name)); err != nil {
			return err
		}
	}
	return write(dir, "Dockerfile", []byte("FROM scratch\nARG TARGETARCH\nCOPY src /usr/src\nCOPY Dockerfile /etc/${TARGETARCH}\n"))
}

// copyTree copies the regular files below from.
func copyTree(to, from string) error {
	return filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		return write(to, rel, data)
	})
}

func makePerPlatform(dir string, _ inputs) error {
	for i, arch := range []string{"amd64", "arm64"} {
		random := newRandom(uint64(i))
		if err := write(dir, "bin/"+arch, append(text(random, 16<<20), noise(random, 8<<20)...)); err != nil {
			return err
		}
	}
	if err := write(dir, "etc/app.conf", []byte("first\n")); err != nil {
		return err
	}
	return write(dir, "Dockerfile", []byte("FROM scratch\nARG TARGETARCH\nCOPY bin/${TARGETARCH} /app\nCOPY etc /etc\nENTRYPOINT [\"/app\"]\n"))
}

func makeOnBase(dir string, in inputs) error {
	if err := write(dir, "file", []byte("first\n")); err != nil {
		return err
	}
	return write(dir, "Dockerfile", fmt.Appendf(nil, "FROM %s/bases/large\nCOPY file /srv/file\n", in.registry))
}

func makeLinked(dir string, in inputs) error {
	if err := write(dir, "file", []byte("first\n")); err != nil {
		return err
	}
	return write(dir, "Dockerfile", fmt.Appendf(nil, "FROM %s/bases/large\nCOPY --link file /srv/file\n", in.registry))
}

func makeRuns(dir string, in inputs) error {
	var b bytes.Buffer
	fmt.Fprintf(&b, "FROM %s/bases/shell\n", in.registry)
	for i := range 100 {
		fmt.Fprintf(&b, "RUN : step %d; echo %d > /file%d\n", i, i, i)
	}
	return write(dir, "Dockerfile", b.Bytes())
}

func makeSleepers(dir string, in inputs) error {
	var b, gather bytes.Buffer
	for i := range 32 {
		fmt.Fprintf(&b, "FROM %s/bases/shell AS s%d\nCOPY seed /seed\nRUN sleep 0.2; echo %d > /out\n", in.registry, i, i)
		fmt.Fprintf(&gather, "COPY --from=s%d /out /out/%d\n", i, i)
	}
	fmt.Fprintf(&b, "FROM scratch\n%s", gather.Bytes())
	if err := write(dir, "seed", []byte("first\n")); err != nil {
		return err
	}
	return write(dir, "Dockerfile", b.Bytes())
}

func makeMany(dir string, _ inputs) error {
	random := newRandom(2)
	for i := range 50_000 {
		if err := write(dir, fmt.Sprintf("d%d/f%d", i%250, i), text(random, 200+random.IntN(1600))); err != nil {
			return err
		}
	}
	return write(dir, "Dockerfile", []byte("FROM scratch\nCOPY . /srv\n"))
}

func makeLarge(dir string, _ inputs) error {
	for i := range 8 {
		random := newRandom(uint64(i))
		f, err := os.Create(filepath.Join(dir, fmt.Sprintf("f%d", i)))
		if err != nil {
			return err
		}
		for range 32 { // in pieces, so that this program stays small
			piece := noise
			if i%2 == 0 {
				piece = text
			}
			if _, err := f.Write(piece(random, 4<<20)); err != nil {
				return err
			}
		}
		if err := f.Close(); err != nil {
			return err
		}
	}
	return write(dir, "Dockerfile", []byte("FROM scratch\nCOPY . /srv\n"))
}

func makeOneOfMany(dir string, in inputs) error {
	random := newRandom(uint64(len(dir)) + uint64(dir[len(dir)-1]))
	for i := range 200 {
		if err := write(dir, fmt.Sprintf("files/%d", i), text(random, 5000)); err != nil {
			return err
		}
	}
	return write(dir, "Dockerfile", fmt.Appendf(nil, "FROM %s/bases/shell\nCOPY files /srv\nRUN cat /srv/* | wc > /srv/count # %s\n", in.registry, filepath.Base(dir)))
}

func makeSeed(dir string, in inputs) error {
	files := map[string]string{
		"go.mod":        "module app\n\ngo 1.26\n",
		"app/main.go":   "package main\n\nimport (\n\t\"encoding/json\"\n\t\"fmt\"\n\t\"net/http\"\n)\n\nfunc main() {\n\tb, _ := json.Marshal(http.Header{})\n\tfmt.Println(string(b), edited)\n}\n",
		"app/edited.go": "package main\n\nconst edited = 0\n",
		"Dockerfile": `FROM ` + in.registry + `/bases/golang AS builder
ENV PATH=/usr/local/go/bin:/bin CGO_ENABLED=0 GOPATH=/go GOCACHE=/gocache GOTOOLCHAIN=local
WORKDIR /app
COPY go.mod ./
COPY . .
RUN --mount=type=cache,target=/gocache go build -o /main ./app
FROM ` + in.registry + `/bases/debian
COPY --from=builder /main /main
CMD ["/main"]
`,
	}
	for name, content := range files {
		if err := write(dir, name, []byte(content)); err != nil {
			return err
		}
	}
	return nil
}
