package stagetest

import (
	"math"
	"net/http"
	"strconv"
	"time"
)

// Quirk is a way in which a [RegistryServer] misbehaves. A registry can have several. Requests are counted from 1 since the quirk
// was set.
type Quirk func(*behaviour)

// behaviour is all quirks of a registry, and what they count. The zero behaviour is a good one.
type behaviour struct {
	delay       time.Duration
	failEvery   int
	truncate    int
	limit       int // requests in a window; limited says whether that counts
	limited     bool
	window      time.Duration
	noMounts    bool
	noReferrers bool
	readOnly    bool
	login       bool
	user, pass  string

	seen      int       // requests
	reads     int       // of them for blobs
	inWindow  int       // requests that were let through
	windowEnd time.Time // zero before the first
}

// Slow makes the registry wait before each answer.
func Slow(delay time.Duration) Quirk { return func(b *behaviour) { b.delay = delay } }

// FailEvery makes every n-th request fail with 503 Service Unavailable; with 1, all of them. A client that repeats an exchange of
// n requests from its beginning (an upload is three of them) meets the failure each time: with 3 it never gets through.
func FailEvery(n int) Quirk { return func(b *behaviour) { b.failEvery = n } }

// TruncateEvery makes every n-th answer that has a blob end half-way: its header announces all, and then the connection is
// closed. An answer to a request for the rest is counted, too.
func TruncateEvery(n int) Quirk { return func(b *behaviour) { b.truncate = n } }

// RejectMounts makes the registry mount no blob from another repository. As the specification wants it, the request begins an
// upload then.
func RejectMounts() Quirk { return func(b *behaviour) { b.noMounts = true } }

// RateLimit lets n requests through in a window of time, which begins with the first of them. Further ones are answered 429 Too
// Many Requests, with the header Retry-After, until the window is over. A window of 0 has no end, and no Retry-After.
func RateLimit(n int, window time.Duration) Quirk {
	return func(b *behaviour) { b.limited, b.limit, b.window = true, n, window }
}

// Login makes the registry refuse whoever does not give this name and password (401 Unauthorized, HTTP basic authentication).
func Login(user, password string) Quirk {
	return func(b *behaviour) { b.login, b.user, b.pass = true, user, password }
}

// ReadOnly makes the registry deny everything that would change it (403 Forbidden).
func ReadOnly() Quirk { return func(b *behaviour) { b.readOnly = true } }

// NoReferrers makes the registry one of before the referrers API (OCI distribution specification 1.1).
func NoReferrers() Quirk { return func(b *behaviour) { b.noReferrers = true } }

// verdict is what the quirks do to one request.
type verdict struct {
	quirk      string // the name of what was applied, for the log
	delay      time.Duration
	truncate   bool
	status     int // refuse with it, when it is not 0
	code, text string
	header     http.Header // of the refusal
}

func (v *verdict) refuse(quirk string, status int, code, text string) {
	v.quirk, v.status, v.code, v.text = quirk, status, code, text
}

// judge counts a request. Of several quirks that would refuse it the first here does.
func (b *behaviour) judge(r *http.Request, t target, now time.Time) verdict {
	v := verdict{delay: b.delay, header: http.Header{}}
	if b.delay > 0 {
		v.quirk = "Slow"
	}
	b.seen++
	switch user, pass, _ := r.BasicAuth(); {
	case b.limited && !b.admit(now):
		v.refuse("RateLimit", http.StatusTooManyRequests, "TOOMANYREQUESTS", "too many requests")
		if b.window > 0 {
			v.header.Set("Retry-After", strconv.Itoa(int(math.Ceil(b.windowEnd.Sub(now).Seconds()))))
		}
	case b.failEvery > 0 && b.seen%b.failEvery == 0:
		v.refuse("FailEvery", http.StatusServiceUnavailable, "UNAVAILABLE", "the registry is out of order")
	case b.login && (user != b.user || pass != b.pass):
		v.refuse("Login", http.StatusUnauthorized, "UNAUTHORIZED", "name and password are wanted")
		v.header.Set("WWW-Authenticate", `Basic realm="stagetest"`)
	case b.readOnly && r.Method != http.MethodGet && r.Method != http.MethodHead:
		v.refuse("ReadOnly", http.StatusForbidden, "DENIED", "the registry cannot be written to")
	case b.noReferrers && t.kind == referrers:
		v.refuse("NoReferrers", http.StatusNotFound, "NOT_FOUND", "no such page")
	case t.kind == blob && r.Method == http.MethodGet:
		b.reads++
		if b.truncate > 0 && b.reads%b.truncate == 0 {
			v.quirk, v.truncate = "TruncateEvery", true
		}
	}
	return v
}

// admit lets a request through, or not, within the limit.
func (b *behaviour) admit(now time.Time) bool {
	if b.windowEnd.IsZero() || b.window > 0 && !now.Before(b.windowEnd) {
		b.inWindow, b.windowEnd = 0, now.Add(b.window)
	}
	if b.inWindow >= b.limit {
		return false
	}
	b.inWindow++
	return true
}
