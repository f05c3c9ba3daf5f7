package serve

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"
)

// Error is an answer of the handler that is no success, as a client sees it.
type Error struct {
	Status  int    // of HTTP
	Code    string // of the distribution specification: "MANIFEST_UNKNOWN", or "UNKNOWN", which registries use for failures of their own
	Message string
}

// Error gives code and message.
func (e *Error) Error() string { return e.Code + ": " + e.Message }

// maxMessage is how many bytes of an error reach a client, which reads a few KiB of it at most.
const maxMessage = 4 << 10

// clientError is what a client is told of a failure of Source or of its artifact.
func clientError(err error) *Error {
	message := strings.ToValidUTF8(err.Error(), "\uFFFD")
	if len(message) > maxMessage {
		message = strings.ToValidUTF8(message[:maxMessage], "") + "…"
	}
	switch {
	case errors.Is(err, ErrNotFound):
		return &Error{http.StatusNotFound, "MANIFEST_UNKNOWN", message}
	case errors.Is(err, errClosed):
		return &Error{http.StatusServiceUnavailable, "UNAVAILABLE", message}
	}
	// Of a status of 500 and above, Docker and podman show the number and not the message.
	return &Error{http.StatusUnprocessableEntity, "UNKNOWN", message}
}

// write answers with the specification's document: "Error Codes".
func (e *Error) write(w http.ResponseWriter, r *http.Request) {
	type entry struct {
		Code    string `json:"code"`
		Message string `json:"message"`
	}
	body, err := json.Marshal(struct {
		Errors []entry `json:"errors"`
	}{[]entry{{e.Code, e.Message}}})
	if err != nil { // strings always have a form in JSON
		http.Error(w, http.StatusText(e.Status), e.Status)
		return
	}
	send(w, r, e.Status, "application/json", body)
}

// respond answers with a document.
func respond(w http.ResponseWriter, r *http.Request, contentType string, body []byte) {
	send(w, r, http.StatusOK, contentType, body)
}
