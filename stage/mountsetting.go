package stage

import (
	"fmt"
	"math"
	"path"
	"slices"
	"strconv"
	"strings"
)

// MountSetting sets a property of a mount by a text, in the words of RUN --mount: "type", "readonly" or "ro",
// "rw", "required", "size", "sharing", "mode", "uid", "gid". The text may use ${NAME}
// of arguments and environment, which the other options cannot; one that is wrong is
// reported by Compile. "size" takes a number with a binary unit: "64m", "1GiB".
func MountSetting(name, text string) MountOption {
	return func(m *Mount) {
		if len(m.Late) > 0 || strings.ContainsAny(text, "$\\`\"'") || m.set(name, text) != nil {
			m.Late = append(slices.Clip(m.Late), name+"="+text)
		}
	}
}

// setLate applies the settings that had to wait for variables.
func (m *Mount) setLate(st *state) error {
	for _, late := range m.Late {
		name, text, _ := strings.Cut(late, "=")
		value, err := st.expand(text)
		if err == nil {
			err = m.set(name, value)
		}
		if err != nil {
			return fmt.Errorf("%s mount: %s: %w", m.Type, name, err)
		}
	}
	m.Late = nil
	return nil
}

func (m *Mount) set(name, value string) error {
	var err error
	switch name {
	case "type":
		switch t := MountType(strings.ToLower(value)); t {
		case MountBind, MountCache, MountTmpfs, MountSecret, MountSSH:
			m.Type = t
			return nil
		}
		return fmt.Errorf("%q; want bind, cache, tmpfs, secret or ssh", value)
	case "ro", "readonly", "rw", "readwrite":
		var yes bool
		if yes, err = strconv.ParseBool(value); err == nil {
			read := yes == (name == "ro" || name == "readonly")
			m.Writable, m.ReadOnly = m.Type == MountBind && !read, m.Type == MountCache && read
		}
	case "required":
		var yes bool
		yes, err = strconv.ParseBool(value)
		m.Optional = !yes
	case "size":
		m.Size, err = parseSize(value)
		return err
	case "sharing":
		switch s := Sharing(strings.ToLower(value)); s {
		case Shared, Private, Locked:
			m.Sharing = s
		default:
			return fmt.Errorf("%q; want shared, private or locked", value)
		}
	case "mode":
		var mode uint64
		if mode, err = strconv.ParseUint(value, 8, 32); err != nil || mode > 0o7777 {
			return fmt.Errorf("%q; want an octal number up to 7777", value)
		}
		m.Mode = uint32(mode)
	case "uid", "gid":
		if _, err = strconv.ParseUint(value, 10, 32); err != nil {
			return fmt.Errorf("%q; want a number", value)
		}
		uid, gid, _ := strings.Cut(m.Owner, ":")
		if name == "uid" {
			uid = value
		} else {
			gid = value
		}
		m.Owner = orZero(uid) + ":" + orZero(gid)
	default:
		return fmt.Errorf("no setting %q of a mount", name)
	}
	if err != nil {
		return fmt.Errorf("%q; want true or false", value)
	}
	return nil
}

func orZero(id string) string {
	if id == "" {
		return "0"
	}
	return id
}

// parseSize reads a number of bytes with an optional binary unit, as docker does:
// "64m", "1.5g", "512 KiB".
func parseSize(text string) (int64, error) {
	digits := strings.TrimRight(text, "kKmMgGtTpPiIbB ")
	unit := strings.ToLower(strings.TrimSpace(text[len(digits):]))
	unit = strings.TrimSuffix(strings.TrimSuffix(unit, "b"), "i")
	n, err := strconv.ParseFloat(digits, 64)
	power := strings.Index("kmgtp", unit)
	if err != nil || n < 0 || len(unit) > 1 || power < 0 || strings.ContainsAny(digits, "eExXnN_+-") {
		return 0, fmt.Errorf("size %q; want a number of bytes, or one with a unit, as in 64m", text)
	}
	if unit != "" {
		n *= math.Pow(1024, float64(power+1))
	}
	if n >= math.MaxInt64 {
		return 0, fmt.Errorf("size %q is too large", text)
	}
	return int64(n), nil
}

// dockerDefaults fills in what a mount of a Dockerfile leaves out: from target as it was
// expanded, before it was made absolute.
func (m *Mount) dockerDefaults(target string) {
	switch m.Type {
	case MountBind:
		if m.From == nil {
			m.From = Context()
		}
	case MountCache:
		if m.ID == "" {
			m.ID = path.Clean(target)
		}
	case MountSecret:
		if m.ID == "" && target != "" {
			m.ID = path.Base(target)
		}
		if target == "" && m.Env == "" && m.ID != "" {
			m.Target = "/run/secrets/" + path.Base(m.ID)
		}
	}
}
