package source

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/stagewright/stagewright/internal/gitref"
)

const (
	// gitDeadline bounds one call of git, of which a fetch is the longest.
	gitDeadline = 30 * time.Minute
	// maxGitOutput bounds what a call may say, in bytes.
	maxGitOutput = 512 << 20
	maxGitStderr = 4 << 10
)

// GitError reports what git could not do.
type GitError struct {
	Source string // the String of the Files
	Op     string // "ls-remote", "fetch", ...
	Output string // the end of what git said, without passwords
	Err    error
}

// Error names the source and the command of git, with what git said, and what to do where that is known.
func (e *GitError) Error() string {
	msg := fmt.Sprintf("%s: git %s: %v", e.Source, e.Op, e.Err)
	if e.Output != "" {
		msg += ": " + e.Output
	}
	for _, hint := range []struct{ said, fix string }{
		{"could not read Username", "it wants a password, which nobody is asked for; write user and token into the URL, or use ssh"},
		{"Authentication failed", "check the user and token in the URL"},
		{"Host key verification failed", "connect to the host with ssh once, so that its key is known"},
		{"Permission denied (publickey", "pass SSH_AUTH_SOCK of an agent that has the key"},
		{"Could not resolve host", "is the name right, and the network there?"},
	} {
		if strings.Contains(e.Output, hint.said) {
			return msg + "; " + hint.fix
		}
	}
	return msg
}

// Unwrap returns why the command failed: an *exec.ExitError when it ran, with syscall.ENOSPC beside it on Linux if the disk is full.
func (e *GitError) Unwrap() error { return e.Err }

// gitCall is one call of git.
type gitCall struct {
	dir       string   // working directory
	env       []string // beside the common one
	protocols string   // that may be used, none by default
	args      []string
	output    io.Writer // nil for what the call returns
}

// gitConfig is given to every call, over whatever a repository says: no hooks, no
// programs, no prompts, no background work, and an end to transfers that stand still.
func gitConfig() []string {
	settings := []string{
		"core.hooksPath=" + os.DevNull, "core.attributesFile=" + os.DevNull, "core.excludesFile=" + os.DevNull,
		"core.fsmonitor=false", "core.autocrlf=false", "core.symlinks=true", "core.fileMode=true",
		"core.protectHFS=true", "core.protectNTFS=true", "core.askPass=", "credential.helper=",
		"gc.auto=0", "maintenance.auto=false", "fetch.recurseSubmodules=false", "submodule.recurse=false",
		"fetch.fsckObjects=false", "init.defaultBranch=main", "advice.detachedHead=false", "protocol.version=2",
		"http.lowSpeedLimit=1", "http.lowSpeedTime=60", "safe.directory=*",
	}
	args := make([]string, 0, 2*len(settings))
	for _, s := range settings {
		args = append(args, "-c", s)
	}
	return args
}

// gitEnv is the whole environment of a call.
func (g *GitFiles) gitEnv(c gitCall) []string {
	env := []string{
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		"HOME=" + os.DevNull, "LC_ALL=C",
		"GIT_SSH_COMMAND=ssh -o BatchMode=yes -o ConnectTimeout=30 -o ServerAliveInterval=20",
	}
	env = append(env, g.o.Env...)
	env = append(env,
		"GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL="+os.DevNull, "GIT_TERMINAL_PROMPT=0", "GIT_ASKPASS=", "SSH_ASKPASS=",
		"GIT_ALLOW_PROTOCOL="+c.protocols, "GIT_PROTOCOL_FROM_USER=0", "GIT_LITERAL_PATHSPECS=1", "GIT_NO_REPLACE_OBJECTS=1",
	)
	return append(env, c.env...)
}

// git runs one call and returns what it says.
func (g *GitFiles) git(ctx context.Context, c gitCall) ([]byte, error) {
	program := g.o.Program
	if program == "" {
		program = "git"
	}
	path, err := exec.LookPath(program)
	if err != nil {
		return nil, fmt.Errorf("%s: the program %q is needed and was not found; install it (apt-get install git, apk add git, dnf install git): %w", g, program, err)
	}
	ctx, cancel := context.WithTimeout(ctx, gitDeadline)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, append(gitConfig(), c.args...)...)
	cmd.Dir = c.dir
	cmd.Env = g.gitEnv(c)
	cmd.WaitDelay = 5 * time.Second // its helpers hold the pipes
	endTogether(cmd)
	out, said := &boundedOutput{limit: maxGitOutput}, &tail{}
	cmd.Stdout, cmd.Stderr = out, said
	if c.output != nil {
		cmd.Stdout = c.output
	}
	err = cmd.Run()
	switch {
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case out.over:
		return nil, &LimitError{Source: g.String(), What: "output of git in bytes", Limit: maxGitOutput}
	case err != nil:
		if full := diskFull(g.o.Dir); full != nil {
			err = fmt.Errorf("%w (%w)", err, full)
		}
		return nil, &GitError{Source: g.String(), Op: c.args[firstWord(c.args)], Output: g.redacted(said.String()), Err: err}
	}
	return out.Bytes(), nil
}

// firstWord is the index of the subcommand among arguments.
func firstWord(args []string) int {
	for i, a := range args {
		if !strings.HasPrefix(a, "-") {
			return i
		}
	}
	return 0
}

// redacted takes passwords out of what git says, which names URLs.
func (g *GitFiles) redacted(said string) string {
	said = strings.TrimSpace(said)
	for word := range strings.FieldsSeq(said) {
		word = strings.Trim(word, `'",;()`)
		if strings.Contains(word, "://") && strings.Contains(word, "@") {
			said = strings.ReplaceAll(said, word, gitref.Redact(word))
		}
	}
	return said
}

// boundedOutput is a buffer that takes no more than a limit.
type boundedOutput struct {
	bytes.Buffer
	limit int
	over  bool
}

func (b *boundedOutput) Write(p []byte) (int, error) {
	if b.Len()+len(p) > b.limit {
		b.over = true
		return 0, errors.New("too much")
	}
	return b.Buffer.Write(p)
}

// tail keeps the end of a stream.
type tail struct{ kept []byte }

func (t *tail) Write(p []byte) (int, error) {
	t.kept = append(t.kept, p...)
	if over := len(t.kept) - maxGitStderr; over > 0 {
		t.kept = append(t.kept[:0], t.kept[over:]...)
	}
	return len(p), nil
}

// String is the text on one line.
func (t *tail) String() string {
	return strings.Join(strings.FieldsFunc(string(t.kept), func(r rune) bool { return r == '\n' || r == '\r' }), "; ")
}
