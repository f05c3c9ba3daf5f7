package report

import "unicode/utf8"

// maxLine is where a line of output is broken, in bytes.
const maxLine = 64 << 10

// lines cuts a stream into lines, whatever the pieces in which it comes. A line
// ends with LF, CR LF or CR: the CR of a progress bar, which would let the next
// line overwrite this one.
type lines struct {
	partial []byte
	cr      bool // the last byte was a CR that ended a line
}

// add takes the next piece of the stream and calls line for each line that is
// complete. The argument of line is valid during the call.
func (l *lines) add(data []byte, line func([]byte)) {
	for _, c := range data {
		if c == '\n' && l.cr {
			l.cr = false
			continue
		}
		l.cr = c == '\r'
		if c == '\n' || c == '\r' {
			line(l.partial)
			l.partial = l.partial[:0]
			continue
		}
		if len(l.partial) >= maxLine && utf8.RuneStart(c) {
			line(l.partial)
			l.partial = l.partial[:0]
		}
		l.partial = append(l.partial, c)
	}
}

// flush completes the last line. It calls line when there is one.
func (l *lines) flush(line func([]byte)) {
	if len(l.partial) > 0 {
		line(l.partial)
	}
	l.partial, l.cr = nil, false
}
