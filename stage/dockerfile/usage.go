package dockerfile

import (
	"maps"
	"slices"
	"strings"

	"github.com/moby/buildkit/frontend/dockerfile/parser"

	"github.com/stagewright/stagewright/stage"
)

// usage is the form of an instruction, for messages, and its flags.
type usage struct {
	form  string
	flags []string
}

// usages are the instructions of the stable syntax of BuildKit 0.34. RUN
// --device and --security are part of it, but need a privilege of the daemon
// that nothing here has; they are refused with a reason of their own.
var usages = map[string]usage{
	"ADD":         {"ADD [--chown=U:G] [--chmod=MODE] [--checksum=DIGEST] SOURCE... DESTINATION", []string{"chown", "chmod", "link", "keep-git-dir", "checksum", "unpack", "exclude"}},
	"ARG":         {"ARG NAME or ARG NAME=DEFAULT", nil},
	"CMD":         {`CMD ["PROGRAM", "ARGUMENT"] or CMD COMMAND LINE`, nil},
	"COPY":        {"COPY [--from=STAGE] [--chown=U:G] [--chmod=MODE] SOURCE... DESTINATION", []string{"chown", "from", "chmod", "link", "exclude", "parents"}},
	"ENTRYPOINT":  {`ENTRYPOINT ["PROGRAM", "ARGUMENT"] or ENTRYPOINT COMMAND LINE`, nil},
	"ENV":         {"ENV NAME=VALUE", nil},
	"EXPOSE":      {"EXPOSE PORT or EXPOSE PORT/udp", nil},
	"FROM":        {"FROM [--platform=PLATFORM] IMAGE [AS NAME]", []string{"platform"}},
	"HEALTHCHECK": {"HEALTHCHECK [--interval=30s] [--timeout=30s] [--retries=3] CMD COMMAND, or HEALTHCHECK NONE", []string{"interval", "timeout", "start-period", "start-interval", "retries"}},
	"LABEL":       {"LABEL KEY=VALUE", nil},
	"MAINTAINER":  {"LABEL org.opencontainers.image.authors=NAME", nil},
	"ONBUILD":     {"ONBUILD INSTRUCTION; every instruction but FROM, MAINTAINER and ONBUILD", nil},
	"RUN":         {`RUN ["PROGRAM", "ARGUMENT"] or RUN COMMAND LINE`, []string{"mount", "network", "device", "security"}},
	"SHELL":       {`SHELL ["PROGRAM", "ARGUMENT"]`, nil},
	"STOPSIGNAL":  {"STOPSIGNAL SIGTERM", nil},
	"USER":        {"USER NAME[:GROUP] or USER UID[:GID]", nil},
	"VOLUME":      {"VOLUME DIRECTORY", nil},
	"WORKDIR":     {"WORKDIR DIRECTORY", nil},
}

func usageFix(name string) string {
	if u, ok := usages[name]; ok {
		return "write " + u.form
	}
	return ""
}

// isSwitch reports whether a flag is true or false.
func isSwitch(flag string) bool {
	switch flag {
	case "link", "keep-git-dir", "unpack", "parents":
		return true
	}
	return false
}

// isList reports whether a flag may be given several times.
func isList(flag string) bool { return flag == "mount" || flag == "exclude" || flag == "device" }

// checkWords checks the instruction's name and its flags, which BuildKit's
// errors name without a place.
func (f *File) checkWords(node *parser.Node, p *problems) {
	name := strings.ToUpper(node.Value)
	u, ok := usages[name]
	if !ok {
		p.unknown(f.src.find(node, node.Value), "", unknown("instruction", node.Value, slices.Collect(maps.Keys(usages))))
		return
	}
	if name == "ARG" || name == "STOPSIGNAL" || name == "HEALTHCHECK" && node.Next != nil && strings.EqualFold(node.Next.Value, "NONE") {
		return // whatever stands there is ignored
	}
	used := map[string]bool{}
	for _, text := range node.Flags {
		if text == "--" || !strings.HasPrefix(text, "--") {
			return
		}
		flag, value, hasValue := strings.Cut(text[2:], "=")
		at := f.src.find(node, "--"+flag)
		f.checkFlag(at, node, u, flag, value, hasValue, p)
		if used[flag] && !isList(flag) {
			p.add(at, shortened(node), &SyntaxError{Instruction: name, Msg: "--" + flag + " is given twice"}, "give it once")
		}
		used[flag] = true
	}
}

func (f *File) checkFlag(at stage.Position, node *parser.Node, u usage, flag, value string, hasValue bool, p *problems) {
	name := strings.ToUpper(node.Value)
	wrong := func(msg, fix string) {
		p.add(at, shortened(node), &SyntaxError{Instruction: name, Msg: msg}, fix)
	}
	switch {
	case len(u.flags) == 0:
		wrong(name+" takes no flag, and has --"+flag, usageFix(name))
	case !slices.Contains(u.flags, flag):
		p.unknown(at, shortened(node), unknown("flag of "+name, "--"+flag, dashed(u.flags)))
	case !hasValue && !isSwitch(flag):
		wrong("--"+flag+" has no value", "write --"+flag+"=VALUE")
	case isSwitch(flag) && hasValue && !strings.EqualFold(value, "true") && !strings.EqualFold(value, "false"):
		wrong("--"+flag+"="+value+" is neither true nor false", "write --"+flag+" or --"+flag+"=false")
	case flag == "device":
		p.add(at, shortened(node), &UnsupportedError{Feature: "RUN --device", Why: "it gives the step a device of the machine (CDI)"}, "build this image with BuildKit")
	case flag == "security" && value == "insecure":
		p.add(at, shortened(node), &UnsupportedError{Feature: "RUN --security=insecure", Why: "it gives the step all privileges of root on the machine"}, "build this image with BuildKit, or remove the flag")
	case flag == "security" && value != "sandbox":
		p.unknown(at, shortened(node), unknown("security mode", value, []string{"sandbox", "insecure"}))
	case flag == "network" && value != "default" && value != "none" && value != "host":
		p.unknown(at, shortened(node), unknown("network", value, []string{"default", "none", "host"}))
	}
}

func dashed(flags []string) []string {
	list := make([]string, len(flags))
	for i, f := range flags {
		list[i] = "--" + f
	}
	return list
}
