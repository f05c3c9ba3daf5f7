package main

import (
	"cmp"
	"fmt"
	"os"
	"strings"

	"github.com/stagewright/stagewright/stage"
)

// parseSecrets reads --secret: of an id alone, the value is the environment variable of that name, or the file.
func parseSecrets(list []string) (map[string]stage.Secret, error) {
	secrets := map[string]stage.Secret{}
	for _, text := range list {
		m := fields(text)
		if err := unknown("--secret "+text, m, "id", "src", "source", "env", "type"); err != nil {
			return nil, err
		}
		id, file, env := m["id"], cmp.Or(m["src"], m["source"]), m["env"]
		if id == "" {
			return nil, fmt.Errorf("--secret %s: no id; write id=NAME,src=FILE or id=NAME,env=VARIABLE", text)
		}
		if m["type"] == "env" && env == "" {
			file, env = "", cmp.Or(file, id)
		}
		if _, set := os.LookupEnv(id); file == "" && env == "" && set {
			env = id
		}
		if env != "" {
			value, ok := os.LookupEnv(env)
			if !ok {
				return nil, fmt.Errorf("--secret %s: the environment variable %s is not set", text, env)
			}
			secrets[id] = stage.SecretValue(value)
			continue
		}
		file = cmp.Or(file, id)
		if _, err := os.Stat(file); err != nil {
			return nil, fmt.Errorf("--secret %s: %w", text, err)
		}
		secrets[id] = stage.SecretFile(file)
	}
	return secrets, nil
}

// parseAgents reads --ssh: "default" alone is the agent of SSH_AUTH_SOCK; paths are a socket, or files with private keys.
func parseAgents(list []string) (map[string]stage.SSHAgent, error) {
	agents := map[string]stage.SSHAgent{}
	for _, text := range list {
		id, paths, ok := strings.Cut(text, "=")
		if !ok || paths == "" {
			socket := os.Getenv("SSH_AUTH_SOCK")
			if socket == "" {
				return nil, fmt.Errorf("--ssh %s: no agent: SSH_AUTH_SOCK is not set; name a socket or key files with --ssh %s=PATH", text, id)
			}
			agents[id] = stage.SSHAgent{Socket: socket}
			continue
		}
		var agent stage.SSHAgent
		for path := range strings.SplitSeq(paths, ",") {
			fi, err := os.Stat(path)
			switch {
			case err != nil:
				return nil, fmt.Errorf("--ssh %s: %w", text, err)
			case fi.Mode()&os.ModeSocket != 0 && paths != path:
				return nil, fmt.Errorf("--ssh %s: give one socket, or key files", text)
			case fi.Mode()&os.ModeSocket != 0:
				agent.Socket = path
			default:
				agent.Keys = append(agent.Keys, path)
			}
		}
		agents[id] = agent
	}
	return agents, nil
}
