// Package report shows what a build does: renderers of the stream of
// [stage.Event] and of a finished build's [stage.Report].
//
// Start with [New], which takes the mode that a user asked for ("auto", "plain",
// "tty", "json", "quiet"), or with [Plain], [TTY] or [JSON]. Hand the renderer's
// method Event to stagewright.Options.Progress and call Close when the build has
// ended, whether it failed or not: Close writes the totals. [Table] writes the
// steps of a finished build, slowest first.
//
// # Guarantees
//
// What the processes of Run steps write is shown by [Plain] and [JSON] whole and
// in order, whatever the pieces in which it comes; a last line without an end is
// completed. [TTY] is for watching: it shows the latest line of each running
// step, and leaves the output to the error of a failed step and to the log that
// the error names.
//
// Texts of a build are not trusted: output, file names, texts of steps taken from
// a base image. Apart from line ends and tabs, control characters, invalid UTF-8
// and invisible format characters (those that turn the direction of text among
// them) are written in Go's escaped form (\x1b), so that no step can move the
// cursor, change the title of the terminal or forge a line of another step. In
// [JSON] they are escaped as JSON does it.
//
// A step is named by its number in the graph, the field Step of its report: it is
// the same in every build of the graph and with every degree of parallelism.
//
// # Limits
//
// A line of output longer than 64 KiB is broken there by [Plain]. Nothing else
// grows with the output.
//
// # Concurrency
//
// A [Renderer] may be used by several goroutines and by several builds at once,
// one after the other for each event. It writes from the goroutine that calls
// Event, while the build waits; the renderer of a terminal also from a goroutine
// of its own, which ends with Close. Two renderers must not share a writer that
// is not safe for that.
package report
