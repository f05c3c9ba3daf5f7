package report

import (
	"errors"
	"fmt"
	"runtime"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/stagewright/stagewright/stage"
)

// shown reports whether a character may reach a terminal as it is. The two
// joiners are part of the writing of many languages and of emoji.
func shown(r rune) bool {
	return r == '\t' || r == '\u200c' || r == '\u200d' || unicode.IsGraphic(r)
}

// appendText appends text with everything escaped that a terminal could take for
// more than text, line ends included.
func appendText(dst []byte, text []byte) []byte {
	for len(text) > 0 {
		r, n := utf8.DecodeRune(text)
		switch {
		case r == utf8.RuneError && n == 1:
			dst = fmt.Appendf(dst, `\x%02x`, text[0])
		case shown(r):
			dst = append(dst, text[:n]...)
		default:
			quoted := strconv.AppendQuoteRune(nil, r)
			dst = append(dst, quoted[1:len(quoted)-1]...)
		}
		text = text[n:]
	}
	return dst
}

func escape(text string) string { return string(appendText(nil, []byte(text))) }

// name is the stage of a step, and its platform when it is not this machine's.
func name(s *stage.Step) string {
	n := escape(s.Stage)
	if p := s.Platform; !p.IsZero() && (p.OS != "linux" || p.Architecture != runtime.GOARCH) {
		n += " " + escape(p.String())
	}
	return n
}

// reason is why a step failed, in one line: without the stage and the text of the
// step, which stand beside it, and without the tail of its output.
func reason(err error) string {
	where, fix := "", ""
	if e, ok := errors.AsType[*stage.Error](err); ok {
		if e.Pos != (stage.Position{}) {
			where = e.Pos.String() + ": "
		}
		if e.Fix != "" {
			fix = "; " + e.Fix
		}
		err = e.Err
	}
	if err == nil {
		return escape(where + "unknown reason" + fix)
	}
	text := err.Error()
	if exit, ok := errors.AsType[*stage.ExitError](err); ok {
		text = fmt.Sprintf("exit code %d", exit.Code)
		if exit.Signal != "" {
			text = "killed by " + exit.Signal
		}
		if exit.Log != "" {
			fix += "; whole output: " + exit.Log
		}
	}
	return escape(where + text + fix)
}

// formatDuration keeps two or three digits that matter.
func formatDuration(d time.Duration) string {
	switch {
	case d < 0:
		return "0s"
	case d < time.Second:
		return strconv.FormatInt(d.Milliseconds(), 10) + "ms"
	case d < time.Minute:
		tenths := d / (time.Second / 10)
		return fmt.Sprintf("%d.%ds", tenths/10, tenths%10)
	case d < time.Hour:
		return fmt.Sprintf("%dm%02ds", d/time.Minute, d%time.Minute/time.Second)
	}
	return fmt.Sprintf("%dh%02dm", d/time.Hour, d%time.Hour/time.Minute)
}

// formatBytes counts in powers of 1000, as storage and networks do.
func formatBytes(n int64) string {
	const units = "kMGTPE"
	if n < 1000 {
		return strconv.FormatInt(n, 10) + " B"
	}
	unit, value := 0, float64(n)/1000
	for value >= 999.95 && unit < len(units)-1 {
		unit, value = unit+1, value/1000
	}
	return fmt.Sprintf("%.1f %cB", value, units[unit])
}

// formatFiles tells what a step changed; empty when it changed nothing.
func formatFiles(r stage.StepReport) string {
	switch {
	case r.Files == 0:
		return ""
	case r.Files == 1:
		return "1 file, " + formatBytes(r.Bytes)
	}
	return strconv.Itoa(r.Files) + " files, " + formatBytes(r.Bytes)
}

// ending is how a step ended, as text.
func ending(f stage.StepFinished) string {
	switch f.Status {
	case stage.Hit:
		return "CACHED"
	case stage.Failed:
		return "FAILED " + formatDuration(f.Duration) + ": " + reason(f.Err)
	case stage.Canceled:
		return "CANCELED " + formatDuration(f.Duration)
	}
	text := "done " + formatDuration(f.Duration)
	if files := formatFiles(f.StepReport); files != "" {
		text += " (" + files + ")"
	}
	return text
}

// firstLine is the beginning of a text of several lines, marked as such.
func firstLine(text string) string {
	line, rest, more := strings.Cut(strings.TrimSpace(text), "\n")
	if more && rest != "" {
		line += " …"
	}
	return line
}

// delivered is what a sink did, in one line.
func delivered(e stage.SinkFinished) string {
	where := "to " + escape(e.Sink) + ": "
	if e.Err != nil {
		return where + "FAILED " + formatDuration(e.Duration) + ": " + escape(e.Err.Error())
	}
	text := where + escape(e.How) + " in " + formatDuration(e.Duration)
	var parts []string
	if e.Blobs > 0 {
		word := " blobs, "
		if e.Blobs == 1 {
			word = " blob, "
		}
		parts = append(parts, strconv.Itoa(e.Blobs)+word+formatBytes(e.Bytes))
	}
	if e.Skipped > 0 {
		parts = append(parts, strconv.Itoa(e.Skipped)+" there already")
	}
	if len(parts) > 0 {
		text += " (" + strings.Join(parts, "; ") + ")"
	}
	return text
}

// transferred is how far something counted in bytes has come.
func transferred(what string, done, total int64) string {
	text := what + " " + formatBytes(done)
	if total > 0 {
		text += " of " + formatBytes(total)
	}
	return text
}
