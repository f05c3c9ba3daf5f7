package local

import (
	"strings"

	"github.com/stagewright/stagewright/stage"
)

// environment is what a process gets: the configured variables, proxies, what mounts
// give, and HOME of the user when nothing gives it, as container engines do. Of two
// values of one name the later counts.
func environment(op *stage.RunOp, user account, mounts *mountSet) []string {
	env := make([]string, len(op.Env), len(op.Env)+len(mounts.env)+1)
	copy(env, op.Env)
	for _, e := range proxies(op.Proxy) {
		env = setVariable(env, e)
	}
	for _, e := range mounts.env {
		env = setVariable(env, e)
	}
	if mounts.agent != "" && !hasVariable(env, "SSH_AUTH_SOCK=") {
		env = append(env, "SSH_AUTH_SOCK="+mounts.agent)
	}
	if !hasValue(env, "HOME=") {
		env = setVariable(env, "HOME="+user.home)
	}
	return env
}

// proxyNames are the names that docker build passes on, in its order.
var proxyNames = []string{"HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY", "ALL_PROXY"}

// proxies gives each proxy under its name in upper and in lower case, since some programs
// read the one and some the other. Of several spellings the last counts; an empty value
// is none.
func proxies(given []string) []string {
	if len(given) == 0 {
		return nil
	}
	var list []string
	for _, name := range proxyNames {
		value := ""
		for _, e := range given {
			if n, v, ok := strings.Cut(e, "="); ok && strings.EqualFold(n, name) {
				value = v
			}
		}
		if value != "" {
			list = append(list, name+"="+value, strings.ToLower(name)+"="+value)
		}
	}
	return list
}

// setVariable replaces a variable in its place, or adds it.
func setVariable(env []string, assignment string) []string {
	name, _, _ := strings.Cut(assignment, "=")
	for i := range env {
		if strings.HasPrefix(env[i], name+"=") {
			env[i] = assignment
			return env
		}
	}
	return append(env, assignment)
}

func hasVariable(env []string, prefix string) bool {
	for _, e := range env {
		if strings.HasPrefix(e, prefix) {
			return true
		}
	}
	return false
}

// hasValue reports whether a variable is there and not empty.
func hasValue(env []string, prefix string) bool {
	for _, e := range env {
		if strings.HasPrefix(e, prefix) {
			return len(e) > len(prefix)
		}
	}
	return false
}
