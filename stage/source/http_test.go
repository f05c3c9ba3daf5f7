package source

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stagewright/stagewright/cache"
)

// fileServer serves one file and counts what is asked.
type fileServer struct {
	*httptest.Server
	body, etag, modified, disposition string

	gets, full atomic.Int64 // requests, and those that were answered with the bytes
}

func serve(t testing.TB, s *fileServer) *fileServer {
	t.Helper()
	s.Server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.gets.Add(1)
		if s.etag != "" {
			w.Header().Set("ETag", s.etag)
		}
		if s.modified != "" {
			w.Header().Set("Last-Modified", s.modified)
		}
		if s.disposition != "" {
			w.Header().Set("Content-Disposition", s.disposition)
		}
		if s.etag != "" && r.Header.Get("If-None-Match") == s.etag || s.etag == "" && s.modified != "" && r.Header.Get("If-Modified-Since") == s.modified {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		s.full.Add(1)
		io.WriteString(w, s.body)
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *fileServer) options(store cache.Store) HTTPOptions {
	return HTTPOptions{Store: store, Transport: s.Client().Transport}
}

func mustHTTP(t testing.TB, url, sum string, o HTTPOptions) *HTTPFile {
	t.Helper()
	h, err := HTTPUnchecked(url, o)
	if sum != "" {
		h, err = HTTP(url, sum, o)
	}
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func TestHTTPCheckedIsFetchedOnce(t *testing.T) {
	s := serve(t, &fileServer{body: "hello", modified: "Fri, 14 Jul 2017 02:40:00 GMT"})
	store := cache.NewMemory()
	for range 3 {
		h := mustHTTP(t, s.URL+"/a/tool.tgz?x=1#frag", digestOf("hello").String(), s.options(store))
		entries := mustList(t, h)
		want := Entry{Path: "tool.tgz", Mode: 0o600, Size: 5, Mtime: 1_500_000_000e9, Digest: digestOf("hello")}
		if len(entries) != 1 || fmt.Sprint(entries[0]) != fmt.Sprint(want) {
			t.Fatalf("%+v; want %+v", entries, want)
		}
		if mustHash(t, h)["tool.tgz"] != digestOf("hello") || content(t, h, "tool.tgz") != "hello" {
			t.Error("wrong content")
		}
	}
	if n := s.gets.Load(); n != 1 {
		t.Errorf("%d requests; want 1", n)
	}
	// Another checksum for the same URL is another file: it is asked for, and refused.
	h := mustHTTP(t, s.URL+"/a/tool.tgz?x=1", digestOf("other").String(), s.options(store))
	_, err := h.List(t.Context())
	var sum *ChecksumError
	if !errors.As(err, &sum) || sum.Want != digestOf("other").String() || sum.Got != digestOf("hello").String() {
		t.Errorf("error %v; want a ChecksumError", err)
	}
}

func TestHTTPMismatchKeepsNothing(t *testing.T) {
	s := serve(t, &fileServer{body: "evil"})
	store := cache.NewMemory()
	h := mustHTTP(t, s.URL+"/x", digestOf("good").String(), s.options(store))
	for range 2 {
		if _, err := h.List(t.Context()); err == nil {
			t.Fatal("taken")
		}
	}
	for _, d := range []cache.Digest{digestOf("evil"), digestOf("good")} {
		if _, err := store.Open(t.Context(), d); !errors.Is(err, cache.ErrNotFound) {
			t.Errorf("%v is in the store", d)
		}
	}
	if _, err := store.Get(t.Context(), h.key()); !errors.Is(err, cache.ErrNotFound) {
		t.Error("a record is in the store")
	}
}

func TestHTTPUncheckedAsksWhetherItChanged(t *testing.T) {
	for _, c := range []struct {
		name       string
		s          *fileServer
		gets, full int64
	}{
		{"ETag", &fileServer{etag: `W/"1"`}, 3, 1},
		{"Last-Modified", &fileServer{modified: "Fri, 14 Jul 2017 02:40:00 GMT"}, 3, 1},
		{"neither", &fileServer{}, 3, 3},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := serve(t, c.s)
			s.body = "one"
			store := cache.NewMemory()
			for range 3 {
				h := mustHTTP(t, s.URL+"/f", "", s.options(store))
				mustList(t, h)
				mustList(t, h)
				if content(t, h, "f") != "one" {
					t.Error("wrong content")
				}
			}
			if s.gets.Load() != c.gets || s.full.Load() != c.full {
				t.Errorf("%d requests, %d answered whole; want %d, %d", s.gets.Load(), s.full.Load(), c.gets, c.full)
			}
			s.body, s.etag, s.modified = "two", `"2"`, ""
			h := mustHTTP(t, s.URL+"/f", "", s.options(store))
			mustList(t, h)
			if content(t, h, "f") != "two" {
				t.Error("the new content is not seen")
			}
		})
	}
}

func TestHTTPLostBytesAreFetchedAgain(t *testing.T) {
	s := serve(t, &fileServer{body: "hello", etag: `"1"`})
	store := cache.NewMemory()
	for _, sum := range []string{digestOf("hello").String(), ""} {
		mustList(t, mustHTTP(t, s.URL+"/f", sum, s.options(store)))
		if err := store.Drop(t.Context(), digestOf("hello")); err != nil {
			t.Fatal(err)
		}
		before := s.full.Load()
		h := mustHTTP(t, s.URL+"/f", sum, s.options(store))
		mustList(t, h)
		if content(t, h, "f") != "hello" || s.full.Load() != before+1 {
			t.Errorf("checksum %q: not fetched again", sum)
		}
	}
}

func TestHTTPNames(t *testing.T) {
	for _, c := range []struct {
		path, disposition string
		o                 HTTPOptions
		want              string
	}{
		{"/a/b.txt", "", HTTPOptions{}, "b.txt"},
		{"/a/b%20c", "", HTTPOptions{}, "b c"},
		{"/a/b/", "", HTTPOptions{}, "b"},
		{"/", "", HTTPOptions{}, Unnamed},
		{"", "", HTTPOptions{}, Unnamed},
		{"/x/..", "", HTTPOptions{}, Unnamed},
		{"/x%00y", "", HTTPOptions{}, Unnamed},
		{"/dl", `attachment; filename="real.tar.gz"`, HTTPOptions{}, "real.tar.gz"},
		{"/dl", `attachment; filename*=UTF-8''r%C3%A9al`, HTTPOptions{}, "réal"},
		{"/dl", `attachment; filename="../../etc/passwd"`, HTTPOptions{}, "passwd"},
		{"/dl", `attachment; filename=".."`, HTTPOptions{}, "dl"},
		{"/dl", `attachment; filename="a/"`, HTTPOptions{}, "dl"},
		{"/dl", `;;;`, HTTPOptions{}, "dl"},
		{"/dl", `attachment; filename="real"`, HTTPOptions{NameFromURL: true}, "dl"},
		{"/dl", `attachment; filename="real"`, HTTPOptions{Name: "mine"}, "mine"},
	} {
		s := serve(t, &fileServer{body: "x", disposition: c.disposition})
		c.o.Transport = s.Client().Transport
		if got := paths(mustList(t, mustHTTP(t, s.URL+c.path, "", c.o))); got != c.want {
			t.Errorf("%s %s: %q, want %q", c.path, c.disposition, got, c.want)
		}
	}
}

func TestHTTPRefuses(t *testing.T) {
	sum := digestOf("x").String()
	for _, u := range []string{"", "x", "ftp://h/x", "file:///etc/passwd", "https://", "http:///x", "https://user:secret@h\x01/x"} {
		_, err := HTTP(u, sum, HTTPOptions{})
		if err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: error %v", u, err)
		}
	}
	for _, bad := range []string{"", "abc", "md5:abc", strings.ToUpper(sum), sum[7:]} {
		if _, err := HTTP("https://h/x", bad, HTTPOptions{}); err == nil || !strings.Contains(err.Error(), "sha256sum") {
			t.Errorf("checksum %q: error %v", bad, err)
		}
	}
	if _, err := HTTPUnchecked("https://h/x", HTTPOptions{Name: "a/b"}); err == nil {
		t.Error("a name with a slash is taken")
	}

	plain := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "x") }))
	defer plain.Close()
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/loop":
			http.Redirect(w, r, "/loop", http.StatusFound)
		case "/down":
			http.Redirect(w, r, plain.URL+"/x", http.StatusFound)
		case "/once":
			http.Redirect(w, r, "/big", http.StatusFound)
		case "/big":
			io.WriteString(w, strings.Repeat("y", 5000))
		case "/chunks":
			w.(http.Flusher).Flush()
			io.WriteString(w, strings.Repeat("y", 5000))
		case "/cut":
			w.Header().Set("Content-Length", "100")
			io.WriteString(w, "short")
		case "/silent":
			w.Header().Set("Content-Length", "100")
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		default:
			http.NotFound(w, r)
		}
	}))
	defer s.Close()
	get := func(path, sum string, o HTTPOptions) error {
		store := cache.NewMemory()
		o.Store, o.Transport = store, s.Client().Transport
		_, err := mustHTTP(t, strings.Replace(s.URL, "https://", "https://user:secret@", 1)+path, sum, o).List(t.Context())
		if err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: the message has the password: %v", path, err)
		}
		return err
	}
	var status *StatusError
	var limit *LimitError
	if err := get("/none", "", HTTPOptions{}); !errors.As(err, &status) || status.Status != 404 {
		t.Errorf("404: %v", err)
	}
	if err := get("/loop", "", HTTPOptions{}); err == nil || !strings.Contains(err.Error(), "10 redirects") {
		t.Errorf("loop: %v", err)
	}
	if err := get("/down", "", HTTPOptions{}); err == nil || !strings.Contains(err.Error(), "give a checksum") {
		t.Errorf("from https to http: %v", err)
	}
	if err := get("/down", sum, HTTPOptions{}); err != nil {
		t.Errorf("from https to http with a checksum: %v", err)
	}
	for _, path := range []string{"/big", "/once", "/chunks"} {
		if err := get(path, "", HTTPOptions{MaxBytes: 4999}); !errors.As(err, &limit) {
			t.Errorf("%s: %v", path, err)
		}
		if err := get(path, "", HTTPOptions{MaxBytes: 5000}); err != nil {
			t.Errorf("%s: %v", path, err)
		}
	}
	if err := get("/cut", "", HTTPOptions{}); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("cut: %v", err)
	}
	if err := get("/silent", "", HTTPOptions{Timeout: 50 * time.Millisecond}); !errors.Is(err, errSilent) {
		t.Errorf("silent: %v", err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(fs.ErrClosed)
	if _, err := mustHTTP(t, s.URL+"/big", "", HTTPOptions{Transport: s.Client().Transport}).List(ctx); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("canceled: %v", err)
	}
	if _, err := mustHTTP(t, s.URL+"/big", "", HTTPOptions{}).List(t.Context()); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("an unknown certificate: %v", err)
	}
}

// TestHTTPSecretsStayWithTheirHost: neither a password nor a query is told to the host of
// a redirect, and a password is not sent where others can read it.
func TestHTTPSecretsStayWithTheirHost(t *testing.T) {
	var told []string
	other := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		told = append(told, r.Header.Get("Referer")+r.Header.Get("Authorization")+r.Header.Get("Cookie"))
	}))
	defer other.Close()
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, password, _ := r.BasicAuth(); password != "secret" {
			t.Errorf("the host of the URL was told the password %q", password)
		}
		w.Header().Set("Set-Cookie", "secret=1")
		http.Redirect(w, r, strings.TrimPrefix(other.URL, r.URL.Query().Get("cut"))+"/x", http.StatusTemporaryRedirect)
	}))
	defer s.Close()
	for _, cut := range []string{"", "https:"} {
		u := strings.Replace(s.URL, "https://", "https://user:secret@", 1) + "/x?token=secret&cut=" + cut
		mustList(t, mustHTTP(t, u, "", HTTPOptions{Transport: s.Client().Transport}))
	}
	if len(told) != 2 || told[0] != "" || told[1] != "" {
		t.Errorf("another host was told %q", told)
	}

	for u, ok := range map[string]bool{
		"http://secret@host/x": false, "http://u:secret@10.0.0.1/x": false, "http://u:secret@localhost.example/x": false,
		"http://u:secret@127.0.0.1:1/x": true, "http://u:secret@[::1]/x": true, "http://u:secret@localhost/x": true, "https://secret@host/x": true,
	} {
		file, err := HTTPUnchecked(u, HTTPOptions{})
		_, gitErr := Git(GitTree{Remote: u}, GitOptions{Dir: t.TempDir()})
		if (err == nil) != ok || (gitErr == nil) != ok || strings.Contains(fmt.Sprint(err, gitErr, file), "secret") {
			t.Errorf("%s: %v; %v; %v", u, file, err, gitErr)
		}
	}
}

// FuzzHTTPName: a name from anywhere is one part of a path.
func FuzzHTTPName(f *testing.F) {
	f.Add("https://h/a/b.txt", `attachment; filename="../x"`)
	f.Add("https://h/a%2f..", `attachment; filename*=UTF-8''%2e%2e`)
	f.Add("https://h", `inline`)
	f.Fuzz(func(t *testing.T, raw, disposition string) {
		if name := dispositionName(http.Header{"Content-Disposition": {disposition}}); name != "" && (!isFileName(name) || !cleanRelative(name)) {
			t.Fatalf("Content-Disposition %q gives the name %q", disposition, name)
		}
		u, err := url.Parse(raw)
		if err != nil {
			return
		}
		if name := urlName(u); !isFileName(name) || !cleanRelative(name) {
			t.Fatalf("%q gives the name %q", raw, name)
		}
	})
}
