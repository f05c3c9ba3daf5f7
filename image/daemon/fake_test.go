package daemon_test

import (
	"archive/tar"
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/stagewright/stagewright/image/internal/imagetest"
)

// fake is a daemon: it answers what Docker 20.10.24 and Podman 4.3.1 answered to the same requests, pulls and loads for itself, and keeps
// images by ID. Its fields are set before it is used; what it has is read under the lock.
type fake struct {
	podman          bool
	containerdStore bool   // Docker that knows images by their manifests
	arch            string // amd64 when empty
	noPull          bool   // it cannot reach this process
	failPull        string // the error of a pull after the layers
	noZstd          bool   // like Docker 20.10 it cannot pull layers of zstd, and can load them
	failLoad        string // the error of a load
	swallow         bool   // it takes an archive and has no image then
	hang            chan struct{}

	mu     sync.Mutex
	calls  []string        // method and path of each request, without the API's version
	layers map[string]bool // that it has
	images map[string][]string
	sent   int64 // bytes of layers that travelled
	gone   chan struct{}
	host   string
}

// start listens on a socket and returns its address.
func (f *fake) start(cleanup func(func())) string {
	dir, err := os.MkdirTemp("", "daemon") // paths of sockets are short
	if err != nil {
		panic(err)
	}
	l, err := net.Listen("unix", filepath.Join(dir, "sock"))
	if err != nil {
		panic(err)
	}
	f.layers, f.images, f.gone = map[string]bool{}, map[string][]string{}, make(chan struct{}, 1)
	s := httptest.NewUnstartedServer(f)
	s.Listener.Close()
	s.Listener = l
	s.Start()
	cleanup(func() { s.Close(); os.RemoveAll(dir) })
	f.host = "unix://" + l.Addr().String()
	return f.host
}

// names lists the names of all images, and the number of images without one.
func (f *fake) names() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var all []string
	for id, names := range f.images {
		if len(names) == 0 {
			names = []string{"<none>"}
		}
		for _, n := range names {
			all = append(all, n+"="+id[7:13])
		}
	}
	slices.Sort(all)
	return strings.Join(all, " ")
}

func (f *fake) takeCalls() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	calls := f.calls
	f.calls = nil
	return calls
}

func (f *fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	path := r.URL.Path
	if strings.HasPrefix(path, "/v1.41/") || strings.HasPrefix(path, "/v4.3.1/") {
		path = path[strings.IndexByte(path[1:], '/')+1:]
	}
	f.calls = append(f.calls, r.Method+" "+path)
	f.mu.Unlock()
	rest, inImages := strings.CutPrefix(path, "/images/")
	switch {
	case path == "/_ping":
		w.Header().Set("Api-Version", "1.41")
		if f.podman {
			w.Header().Set("Libpod-Api-Version", "4.3.1")
		} else {
			w.Header().Set("Ostype", "linux")
		}
		io.WriteString(w, "OK")
	case path == "/version":
		json.NewEncoder(w).Encode(map[string]any{"Version": "20.10.24+dfsg1", "ApiVersion": "1.41", "Os": "linux", "Arch": cmp.Or(f.arch, "amd64")})
	case path == "/info":
		status := [][2]string{{"Backing Filesystem", "extfs"}}
		if f.containerdStore {
			status = [][2]string{{"driver-type", "io.containerd.snapshotter.v1"}}
		}
		json.NewEncoder(w).Encode(map[string]any{"DriverStatus": status, "OSType": "linux", "Architecture": cmp.Or(f.arch, "amd64")})
	case path == "/images/create" && !f.podman:
		f.pull(w, r, r.FormValue("fromImage")+"@"+r.FormValue("tag"))
	case path == "/libpod/images/pull" && f.podman:
		if r.FormValue("tlsVerify") != "false" {
			fail(w, 500, "http: server gave HTTP response to HTTPS client")
			return
		}
		f.pull(w, r, r.FormValue("reference"))
	case path == "/images/load":
		f.load(w, r)
	case r.Method == "GET" && strings.HasSuffix(path, "/json") && strings.HasPrefix(path, "/libpod/images/") && f.podman:
		f.inspect(w, strings.TrimSuffix(strings.TrimPrefix(path, "/libpod/images/"), "/json"))
	case inImages && r.Method == "GET" && strings.HasSuffix(rest, "/json") && f.podman: // Podman 4.3, of an image that exposes a port of SCTP
		fail(w, 500, `failed to convert ImageData to ImageInspect: invalid port proto "sctp" in "9999/sctp"`)
	case inImages && r.Method == "GET" && strings.HasSuffix(rest, "/json"):
		f.inspect(w, strings.TrimSuffix(rest, "/json"))
	case inImages && r.Method == "POST" && strings.HasSuffix(rest, "/tag"):
		f.tag(w, strings.TrimSuffix(rest, "/tag"), r.FormValue("repo")+":"+r.FormValue("tag"))
	case inImages && r.Method == "DELETE":
		f.remove(w, rest)
	default:
		fail(w, 404, "page not found: "+path)
	}
}

func fail(w http.ResponseWriter, status int, message string) {
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(map[string]any{"message": message})
}

// find returns the ID of what a name, an ID or a name with digest stands for. The caller holds the lock.
func (f *fake) find(ref string) (string, bool) {
	if _, ok := f.images[ref]; ok {
		return ref, true
	}
	for id, names := range f.images {
		if slices.Contains(names, ref) {
			return id, true
		}
	}
	return "", false
}

func (f *fake) inspect(w http.ResponseWriter, ref string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	id, ok := f.find(ref)
	if !ok {
		fail(w, 404, "no such image: "+ref)
		return
	}
	if f.podman {
		id = strings.TrimPrefix(id, "sha256:")
	}
	json.NewEncoder(w).Encode(map[string]any{"Id": id})
}

func (f *fake) tag(w http.ResponseWriter, ref, name string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	id, ok := f.find(ref)
	if !ok {
		fail(w, 404, "No such image: "+ref)
		return
	}
	f.name(id, name)
	w.WriteHeader(http.StatusCreated)
}

// name takes a name from the image that has it. The caller holds the lock.
func (f *fake) name(id, name string) {
	for o, names := range f.images {
		f.images[o] = slices.DeleteFunc(names, func(n string) bool { return n == name })
	}
	f.images[id] = append(f.images[id], name)
}

func (f *fake) remove(w http.ResponseWriter, ref string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	id, ok := f.find(ref)
	if !ok {
		fail(w, 404, "No such image: "+ref)
		return
	}
	f.images[id] = slices.DeleteFunc(f.images[id], func(n string) bool { return n == ref })
	if len(f.images[id]) == 0 {
		delete(f.images, id)
	}
	fmt.Fprintf(w, `[{"Untagged":%q}]`, ref)
}

// pull fetches an image by digest. Like the daemons it looks for each layer first.
func (f *fake) pull(w http.ResponseWriter, r *http.Request, ref string) {
	if f.noPull {
		if f.podman {
			fmt.Fprintf(w, "{\"stream\":\"Trying to pull\"}\n{\"error\":\"pinging container registry: connection refused\"}\n")
			return
		}
		fail(w, 500, "dial tcp 127.0.0.1: connect: connection refused")
		return
	}
	fmt.Fprintf(w, "{\"status\":\"Pulling from app\"}\r\n")
	if err := f.fetch(r, ref); err != nil {
		fmt.Fprintf(w, "{\"errorDetail\":{\"message\":%q},\"error\":%q}\r\n", err.Error(), err.Error())
		return
	}
	fmt.Fprintf(w, "{\"status\":\"Digest: %s\"}\r\n", ref[strings.IndexByte(ref, '@')+1:])
}

func (f *fake) fetch(r *http.Request, ref string) error {
	repo, digest, _ := strings.Cut(ref, "@")
	host, repo, _ := strings.Cut(repo, "/")
	get := func(what, digest string) ([]byte, error) {
		req, err := http.NewRequestWithContext(r.Context(), "GET", "http://"+host+"/v2/"+repo+what+digest, nil)
		if err != nil {
			return nil, err
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return nil, err
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err == nil && imagetest.Digest(body).String() != digest {
			err = fmt.Errorf("%s: filesystem layer verification failed for digest %s", resp.Status, digest)
		}
		return body, err
	}
	raw, err := get("/manifests/", digest)
	if err != nil {
		return err
	}
	m, err := v1.ParseManifest(bytes.NewReader(raw))
	if err != nil {
		return err
	}
	if _, err := get("/blobs/", m.Config.Digest.String()); err != nil {
		return err
	}
	if f.hang != nil {
		close(f.hang)
		<-r.Context().Done()
		f.gone <- struct{}{}
		return r.Context().Err()
	}
	for _, l := range m.Layers {
		f.mu.Lock()
		have := f.layers[l.Digest.String()]
		f.mu.Unlock()
		if have {
			continue
		}
		data, err := get("/blobs/", l.Digest.String())
		if err != nil {
			return err
		}
		if f.noZstd && strings.HasSuffix(string(l.MediaType), "zstd") {
			return errors.New("failed to register layer: Error processing tar file(exit status 1): unexpected EOF")
		}
		f.mu.Lock()
		f.layers[l.Digest.String()] = true
		f.sent += int64(len(data))
		f.mu.Unlock()
	}
	if f.failPull != "" {
		return errors.New(f.failPull)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	id := m.Config.Digest.String()
	if f.containerdStore {
		id = digest
	}
	f.name(id, ref)
	return nil
}

// load reads an archive of docker save. The layers in it are not known by the digests of their compressed bytes afterwards.
func (f *fake) load(w http.ResponseWriter, r *http.Request) {
	if f.hang != nil {
		r.Body.Read(make([]byte, 1))
		close(f.hang)
		io.Copy(io.Discard, r.Body) // ends with the connection
		f.gone <- struct{}{}
		return
	}
	files := map[string][]byte{}
	for t := tar.NewReader(r.Body); ; {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err == nil {
			files[h.Name], err = io.ReadAll(t)
		}
		if err == nil && f.failLoad != "" && strings.HasPrefix(h.Name, "blobs/sha256/") && h.Typeflag == tar.TypeReg {
			err = errors.New(f.failLoad)
		}
		if err != nil {
			fmt.Fprintf(w, "{\"errorDetail\":{\"message\":%q},\"error\":%q}\r\n", err.Error(), err.Error())
			return
		}
	}
	var entries []struct {
		Config   string
		RepoTags []string
		Layers   []string
	}
	if err := json.Unmarshal(files["manifest.json"], &entries); err != nil || len(entries) != 1 {
		fail(w, 500, "payload does not match any of the supported image formats")
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, l := range entries[0].Layers {
		f.sent += int64(len(files[l]))
	}
	fmt.Fprintf(w, "{\"stream\":\"Loaded image\"}")
	if f.swallow {
		return
	}
	id := imagetest.Digest(files[entries[0].Config]).String()
	if _, ok := f.images[id]; !ok {
		f.images[id] = nil
	}
	for n, name := range entries[0].RepoTags {
		if n == 0 || !f.podman { // Podman takes the first name of an OCI archive
			f.name(id, name)
		}
	}
}
