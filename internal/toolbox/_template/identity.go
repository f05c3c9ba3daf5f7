package main

import (
	"fmt"
	"os"
	"os/user"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

func userName(uid int) string {
	if u, err := user.LookupId(strconv.Itoa(uid)); err == nil {
		return u.Username
	}
	return strconv.Itoa(uid)
}

func groupName(gid int) string {
	if g, err := user.LookupGroupId(strconv.Itoa(gid)); err == nil {
		return g.Name
	}
	return strconv.Itoa(gid)
}

func id(p *proc, args []string) error {
	o, names, err := parse("u/user g/group G/groups n/name r/real", args)
	if err != nil {
		return err
	}
	uid, gid := os.Geteuid(), os.Getegid()
	if o.has("r") {
		uid, gid = os.Getuid(), os.Getgid()
	}
	groups, err := os.Getgroups()
	if err != nil {
		return err
	}
	if len(names) > 0 {
		u, err := user.Lookup(names[0])
		if err != nil {
			return fmt.Errorf("'%s': no such user", names[0])
		}
		uid, _ = strconv.Atoi(u.Uid)
		gid, _ = strconv.Atoi(u.Gid)
		groups = nil
		ids, err := u.GroupIds()
		if err != nil {
			return err
		}
		for _, text := range ids {
			g, _ := strconv.Atoi(text)
			groups = append(groups, g)
		}
	}
	if !slices.Contains(groups, gid) {
		groups = slices.Insert(groups, 0, gid)
	}
	show := func(number int, name func(int) string) string {
		if o.has("n") {
			return name(number)
		}
		return strconv.Itoa(number)
	}
	switch {
	case o.has("u"):
		fmt.Fprintln(p.out, show(uid, userName))
	case o.has("g"):
		fmt.Fprintln(p.out, show(gid, groupName))
	case o.has("G"):
		var list []string
		for _, g := range groups {
			list = append(list, show(g, groupName))
		}
		fmt.Fprintln(p.out, strings.Join(list, " "))
	default:
		var list []string
		for _, g := range groups {
			list = append(list, fmt.Sprintf("%d(%s)", g, groupName(g)))
		}
		fmt.Fprintf(p.out, "uid=%d(%s) gid=%d(%s) groups=%s\n", uid, userName(uid), gid, groupName(gid), strings.Join(list, ","))
	}
	return nil
}

func whoami(p *proc, _ []string) error {
	u, err := user.LookupId(strconv.Itoa(os.Geteuid()))
	if err != nil {
		return fmt.Errorf("cannot find name for user ID %d", os.Geteuid())
	}
	_, err = fmt.Fprintln(p.out, u.Username)
	return err
}

func uname(p *proc, args []string) error {
	o, _, err := parse("a/all s/kernel-name n/nodename r/kernel-release v/kernel-version m/machine p i o/operating-system", args)
	if err != nil {
		return err
	}
	var u syscall.Utsname
	if err := syscall.Uname(&u); err != nil {
		return err
	}
	if len(o.set) == 0 {
		o.set["s"] = true
	}
	var fields []string
	for _, f := range []struct{ name, value string }{
		{"s", utsField(u.Sysname)}, {"n", utsField(u.Nodename)}, {"r", utsField(u.Release)}, {"v", utsField(u.Version)},
		{"m", utsField(u.Machine)}, {"o", "GNU/Linux"},
	} {
		if o.has(f.name) || o.has("a") || f.name == "m" && (o.has("p") || o.has("i")) {
			fields = append(fields, f.value)
		}
	}
	fmt.Fprintln(p.out, strings.Join(fields, " "))
	return nil
}

// utsField is generic because the kernel's char is signed on some architectures.
func utsField[T int8 | uint8](field [65]T) string {
	var out []byte
	for _, c := range field {
		if c == 0 {
			break
		}
		out = append(out, byte(c))
	}
	return string(out)
}

func hostname(p *proc, args []string) error {
	if len(args) > 0 {
		return usagef("setting the host name is not supported")
	}
	name, err := os.Hostname()
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(p.out, name)
	return err
}

func date(p *proc, args []string) error {
	o, operands, err := parse("u/utc d/date: r/reference: I? R", args)
	if err != nil {
		return err
	}
	now := time.Now()
	if text := o.value("d", ""); text != "" {
		if now, err = parseDate(text); err != nil {
			return err
		}
	}
	if name := o.value("r", ""); name != "" {
		fi, err := os.Stat(name)
		if err != nil {
			return err
		}
		now = fi.ModTime()
	}
	if o.has("u") {
		now = now.UTC()
	}
	format := "%a %b %e %H:%M:%S %Z %Y"
	switch {
	case o.has("R"):
		format = "%a, %d %b %Y %H:%M:%S %z"
	case o.has("I"):
		layouts := map[string]string{"": "%Y-%m-%d", "date": "%Y-%m-%d", "seconds": "%Y-%m-%dT%H:%M:%S%:z"}
		var ok bool
		if format, ok = layouts[o.value("I", "")]; !ok {
			return usagef("-I%s is not supported", o.value("I", ""))
		}
	}
	if len(operands) > 0 {
		if operands[0] == "" || operands[0][0] != '+' || len(operands) > 1 {
			return usagef("setting the date is not supported; +FORMAT prints it")
		}
		format = operands[0][1:]
	}
	text, err := strftime(format, now)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(p.out, text)
	return err
}

func parseDate(text string) (time.Time, error) {
	if seconds, ok := strings.CutPrefix(text, "@"); ok {
		n, err := strconv.ParseInt(seconds, 10, 64)
		if err != nil {
			return time.Time{}, usagef("invalid date '%s'", text)
		}
		return time.Unix(n, 0), nil
	}
	for _, layout := range []string{time.RFC3339, "2006-01-02 15:04:05 -0700", "2006-01-02 15:04:05", "2006-01-02T15:04:05", "2006-01-02 15:04", "2006-01-02"} {
		if t, err := time.ParseInLocation(layout, text, time.Local); err == nil {
			return t, nil
		}
	}
	return time.Time{}, usagef("invalid date '%s': @SECONDS and YYYY-MM-DD[ HH:MM[:SS]] are understood", text)
}

func strftime(format string, t time.Time) (string, error) {
	layouts := map[byte]string{'Y': "2006", 'm': "01", 'd': "02", 'e': "_2", 'H': "15", 'I': "03", 'M': "04", 'S': "05", 'y': "06",
		'a': "Mon", 'A': "Monday", 'b': "Jan", 'h': "Jan", 'B': "January", 'p': "PM", 'Z': "MST", 'z': "-0700", 'j': "002",
		'F': "2006-01-02", 'T': "15:04:05", 'R': "15:04", 'D': "01/02/06", 'c': "Mon Jan _2 15:04:05 2006", 'N': "000000000"}
	var out strings.Builder
	for i := 0; i < len(format); i++ {
		if format[i] != '%' || i+1 == len(format) {
			out.WriteByte(format[i])
			continue
		}
		i++
		switch c := format[i]; {
		case c == 's':
			out.WriteString(strconv.FormatInt(t.Unix(), 10))
		case c == 'N':
			fmt.Fprintf(&out, "%09d", t.Nanosecond())
		case c == 'u':
			out.WriteString(strconv.Itoa((int(t.Weekday())+6)%7 + 1))
		case c == 'w':
			out.WriteString(strconv.Itoa(int(t.Weekday())))
		case c == 'n':
			out.WriteByte('\n')
		case c == 't':
			out.WriteByte('\t')
		case c == '%':
			out.WriteByte('%')
		case c == ':' && strings.HasPrefix(format[i:], ":z"):
			i++
			out.WriteString(t.Format("-07:00"))
		case layouts[c] != "":
			out.WriteString(t.Format(layouts[c]))
		default:
			return "", usagef("the format %%%c is not supported", c)
		}
	}
	return out.String(), nil
}
