package stagetest

import (
	"errors"
	"io"
	"maps"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Request is one request to a [RegistryServer], as it was answered.
type Request struct {
	Method string
	Path   string // "/v2/app/manifests/1"
	Query  string // "mount=sha256:…&from=base"
	Status int    // 0 while it is being answered
	Quirk  string // the name of the quirk that changed the answer; empty for none
	// Received and Sent are bytes of the two bodies.
	Received, Sent int64
}

// String returns "GET /v2/app/manifests/1: 200", with the quirk that had an effect in brackets.
func (r Request) String() string {
	s := r.Method + " " + r.Path
	if r.Query != "" {
		s += "?" + r.Query
	}
	s += ": " + strconv.Itoa(r.Status)
	if r.Quirk != "" {
		s += " (" + r.Quirk + ")"
	}
	return s
}

// Requests returns all requests since the beginning, or since Forget, in the order in which they came.
func (s *RegistryServer) Requests() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := make([]Request, len(s.requests))
	for i, r := range s.requests {
		list[i] = *r
	}
	return list
}

// Count returns how many of Requests have the method, or any when it is empty, and the text somewhere in their path: Count("GET",
// "/blobs/").
func (s *RegistryServer) Count(method, text string) int {
	n := 0
	for _, r := range s.Requests() {
		if (method == "" || r.Method == method) && strings.Contains(r.Path, text) {
			n++
		}
	}
	return n
}

// Forget empties Requests.
func (s *RegistryServer) Forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests = nil
}

// serve answers a request that came over the network.
func (s *server) serve(w http.ResponseWriter, r *http.Request) {
	t := parse(r)
	entry := &Request{Method: r.Method, Path: r.URL.Path, Query: r.URL.RawQuery}
	s.mu.Lock()
	s.requests = append(s.requests, entry)
	v := s.quirks.judge(r, t, time.Now())
	noMounts, noReferrers := s.quirks.noMounts, s.quirks.noReferrers
	s.mu.Unlock()

	body := &counted{ReadCloser: r.Body}
	r.Body = body
	answer := &watched{ResponseWriter: w, truncate: v.truncate, hideSubject: noReferrers}
	if v.status == 0 && !s.wait(r, v.delay) {
		v.refuse("Slow", http.StatusServiceUnavailable, "UNAVAILABLE", "the test is over")
	}
	switch {
	case v.status != 0:
		maps.Copy(w.Header(), v.header)
		refuse(answer, v.status, v.code, v.text)
	case noMounts && r.URL.Query().Has("mount"):
		v.quirk = "RejectMounts"
		r.URL.RawQuery = ""
		s.storage.ServeHTTP(answer, r)
	default:
		s.storage.ServeHTTP(answer, r)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	entry.Status, entry.Quirk, entry.Received, entry.Sent = answer.status, v.quirk, body.n, answer.sent
}

// wait waits, and reports false when the client or the test did not.
func (s *server) wait(r *http.Request, d time.Duration) bool {
	if d <= 0 {
		return true
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-r.Context().Done():
	case <-s.stopped:
	}
	return false
}

// counted counts what is read.
type counted struct {
	io.ReadCloser
	n int64
}

// Read implements io.Reader.
func (c *counted) Read(p []byte) (int, error) {
	n, err := c.ReadCloser.Read(p)
	c.n += int64(n)
	return n, err
}

var errTruncated = errors.New("the answer is truncated")

// watched is an answer that is counted, and perhaps cut off: the server closes a connection on which less was sent than
// announced.
type watched struct {
	http.ResponseWriter
	status      int
	sent        int64
	truncate    bool
	left        int64 // of a truncated answer
	hideSubject bool
}

// WriteHeader implements http.ResponseWriter.
func (w *watched) WriteHeader(status int) {
	if w.status != 0 {
		return
	}
	w.status = status
	if w.hideSubject {
		w.Header().Del("OCI-Subject")
	}
	if w.truncate {
		length, err := strconv.ParseInt(w.Header().Get("Content-Length"), 10, 64)
		w.truncate = err == nil && status/100 == 2
		w.left = length / 2
	}
	w.ResponseWriter.WriteHeader(status)
}

// Write implements io.Writer.
func (w *watched) Write(p []byte) (int, error) {
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	if !w.truncate {
		n, err := w.ResponseWriter.Write(p)
		w.sent += int64(n)
		return n, err
	}
	cut := p[:min(int64(len(p)), w.left)]
	n, err := w.ResponseWriter.Write(cut)
	w.sent, w.left = w.sent+int64(n), w.left-int64(n)
	if err == nil && n < len(p) {
		err = errTruncated
	}
	return n, err
}
