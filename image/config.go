package image

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// Config says how a container of the image is started. It is the "config" object of the OCI image configuration together with the
// fields that Docker adds (Healthcheck, OnBuild, Shell), which are written whatever the media types of the image are: a runtime
// that does not know them ignores them.
//
// In JSON the fields have the order and the spelling of Docker and BuildKit, and an empty field is left out. Nil and empty are kept apart in
// memory, where they mean different things while an image is being described, and are equal in JSON, as they are for Docker.
type Config struct {
	User         string              `json:"User,omitempty"`
	ExposedPorts map[string]struct{} `json:"ExposedPorts,omitempty"` // "8080/tcp"
	Env          []string            `json:"Env,omitempty"`          // "NAME=value", in the order of definition
	Entrypoint   []string            `json:"Entrypoint,omitempty"`
	Cmd          []string            `json:"Cmd,omitempty"`
	Volumes      map[string]struct{} `json:"Volumes,omitempty"`
	WorkingDir   string              `json:"WorkingDir,omitempty"`
	Labels       map[string]string   `json:"Labels,omitempty"`
	StopSignal   string              `json:"StopSignal,omitempty"`
	ArgsEscaped  bool                `json:"ArgsEscaped,omitempty"` // Windows only: Cmd and Entrypoint are escaped already
	Healthcheck  *Healthcheck        `json:"Healthcheck,omitempty"`
	OnBuild      []string            `json:"OnBuild,omitempty"`
	Shell        []string            `json:"Shell,omitempty"`

	// Extra has the fields that an existing config has and that are not listed above, by their JSON name. They are written behind
	// the others, in the order of their names. A name that equals a listed field, in whatever case, is refused when writing.
	Extra map[string]json.RawMessage `json:"-"`
}

// Healthcheck is how a container is found to be healthy. Zero in a duration or in Retries means the runtime's default. Durations are
// nanoseconds in JSON.
type Healthcheck struct {
	// Test is empty (inherit), {"NONE"} (disabled), {"CMD", argv...} or {"CMD-SHELL", command}.
	Test          []string      `json:"Test,omitempty"`
	Interval      time.Duration `json:"Interval,omitempty"`
	Timeout       time.Duration `json:"Timeout,omitempty"`
	StartPeriod   time.Duration `json:"StartPeriod,omitempty"`
	StartInterval time.Duration `json:"StartInterval,omitempty"`
	Retries       int           `json:"Retries,omitempty"`
}

// Clone returns a copy that shares nothing with c.
func (c Config) Clone() Config {
	c.ExposedPorts = maps.Clone(c.ExposedPorts)
	c.Env = slices.Clone(c.Env)
	c.Entrypoint = slices.Clone(c.Entrypoint)
	c.Cmd = slices.Clone(c.Cmd)
	c.Volumes = maps.Clone(c.Volumes)
	c.Labels = maps.Clone(c.Labels)
	if c.Healthcheck != nil {
		h := *c.Healthcheck
		h.Test = slices.Clone(h.Test)
		c.Healthcheck = &h
	}
	c.OnBuild = slices.Clone(c.OnBuild)
	c.Shell = slices.Clone(c.Shell)
	c.Extra = cloneExtra(c.Extra)
	return c
}

// MarshalJSON writes c as Docker does; see [Config].
func (c Config) MarshalJSON() ([]byte, error) {
	type plain Config // without the methods
	known, err := json.Marshal(plain(c))
	if err != nil || len(c.Extra) == 0 {
		return known, err
	}
	var b bytes.Buffer
	b.Write(known[:len(known)-1])
	for _, name := range slices.Sorted(maps.Keys(c.Extra)) {
		if isField(configFields(), name) {
			return nil, fmt.Errorf("image config: Extra holds %q, which is a field of its own; set that field instead", name)
		}
		if b.Len() > 1 {
			b.WriteByte(',')
		}
		key, err := json.Marshal(name)
		if err != nil {
			return nil, err
		}
		b.Write(key)
		b.WriteByte(':')
		b.Write(c.Extra[name])
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

// UnmarshalJSON reads a config. Names of fields are matched in any case, as Docker matches them; what is not known goes to Extra.
func (c *Config) UnmarshalJSON(data []byte) error {
	type plain Config
	var p plain
	if err := json.Unmarshal(data, &p); err != nil {
		return err
	}
	extra, err := unknownFields(data, configFields())
	if err != nil {
		return err
	}
	p.Extra = extra
	*c = Config(p)
	return nil
}

func configFields() []string {
	return []string{
		"User", "ExposedPorts", "Env", "Entrypoint", "Cmd", "Volumes", "WorkingDir", "Labels", "StopSignal", "ArgsEscaped",
		"Healthcheck", "OnBuild", "Shell",
	}
}

// containerFields are those that Docker's first builders left behind in a config. They tell of the container in which the image was
// made, and mean nothing for an image that is built on it.
func containerFields() []string {
	return []string{
		"Hostname", "Domainname", "AttachStdin", "AttachStdout", "AttachStderr", "Tty", "OpenStdin", "StdinOnce", "Image",
		"NetworkDisabled", "MacAddress",
	}
}

func isField(fields []string, name string) bool {
	return slices.ContainsFunc(fields, func(f string) bool { return strings.EqualFold(f, name) })
}

// unknownFields returns the members of a JSON object that are not in fields, nil when there are none.
func unknownFields(data []byte, fields []string) (map[string]json.RawMessage, error) {
	var all map[string]json.RawMessage
	if err := json.Unmarshal(data, &all); err != nil {
		return nil, err
	}
	maps.DeleteFunc(all, func(name string, _ json.RawMessage) bool { return isField(fields, name) })
	if len(all) == 0 {
		return nil, nil
	}
	return all, nil
}

func cloneExtra(m map[string]json.RawMessage) map[string]json.RawMessage {
	m = maps.Clone(m)
	for name, v := range m {
		m[name] = slices.Clone(v)
	}
	return m
}
