package dockerfile

import (
	"strconv"
	"strings"

	"github.com/stagewright/stagewright/stage"
)

// config is the call of an instruction that changes the configuration.
func (w *goWriter) config(c *piece, op *stage.ConfigOp) string {
	switch op.Instruction {
	case "ENV":
		return pairCall("Env", w.words(c, op.Words))
	case "LABEL":
		return pairCall("Label", w.words(c, op.Words))
	case "EXPOSE":
		return w.expose(c, op.Words)
	case "CMD", "ENTRYPOINT":
		name := map[string]string{"CMD": "Cmd", "ENTRYPOINT": "Entrypoint"}[op.Instruction]
		if op.Shell {
			name += "Shell"
		}
		return name + "(" + goList(op.Words) + ")"
	case "SHELL":
		return "Shell(" + goList(op.Words) + ")"
	case "ONBUILD":
		return "OnBuild(" + goList(op.Words) + ")"
	case "MAINTAINER":
		return "Author(" + goList(op.Words) + ")"
	case "HEALTHCHECK":
		return w.health(op.Health)
	case "UNEXPOSE":
		return "Unexpose(" + strings.Join(w.splitWords(c, op.Words), ", ") + ")"
	}
	methods := map[string]string{"USER": "User", "VOLUME": "Volume", "STOPSIGNAL": "StopSignal", "UNSETENV": "UnsetEnv", "UNSETLABEL": "UnsetLabel", "UNVOLUME": "RemoveVolume"}
	return methods[op.Instruction] + "(" + strings.Join(w.words(c, op.Words), ", ") + ")"
}

// pairCall is a call with names and values, one pair a line when there are several.
func pairCall(name string, words []string) string {
	var lines []string
	for i := 0; i+1 < len(words); i += 2 {
		lines = append(lines, words[i]+", "+words[i+1])
	}
	return name + "(" + strings.Join(lines, ",\n") + ")"
}

// splitWords are texts of which white space that is not quoted makes several.
func (w *goWriter) splitWords(c *piece, texts []string) []string {
	list := make([]string, len(texts))
	for i, text := range texts {
		if c.parts.Rules != nil {
			text = simpleWord(text, c.parts.Rules, true)
		}
		list[i] = goString(text)
	}
	return list
}

// expose uses numbers where every port is one.
func (w *goWriter) expose(c *piece, specs []string) string {
	words := make([]string, len(specs))
	for i, spec := range specs {
		if c.parts.Rules != nil {
			spec = simpleWord(spec, c.parts.Rules, true)
		}
		number, proto, _ := strings.Cut(spec, "/")
		n, err := strconv.ParseUint(number, 10, 16)
		if err != nil || number != strconv.FormatUint(n, 10) {
			return "ExposeSpec(" + strings.Join(w.splitWords(c, specs), ", ") + ")"
		}
		switch strings.ToLower(proto) {
		case "", "tcp":
			words[i] = number
		case "udp":
			words[i] = "stage.UDP(" + number + ")"
		case "sctp":
			words[i] = "stage.SCTP(" + number + ")"
		default:
			return "ExposeSpec(" + strings.Join(w.splitWords(c, specs), ", ") + ")"
		}
	}
	return "Expose(" + strings.Join(words, ", ") + ")"
}

func (w *goWriter) health(h *stage.Health) string {
	if h == nil {
		return "NoHealthcheck()"
	}
	var fields []string
	if h.Shell != "" {
		fields = append(fields, "Shell: "+goString(h.Shell))
	}
	if len(h.Exec) > 0 {
		fields = append(fields, "Exec: []string{"+goList(h.Exec)+"}")
	}
	for _, d := range []struct {
		name  string
		value int64
	}{{"Interval", int64(h.Interval)}, {"Timeout", int64(h.Timeout)}, {"StartPeriod", int64(h.StartPeriod)}, {"StartInterval", int64(h.StartInterval)}} {
		if d.value != 0 {
			fields = append(fields, d.name+": "+w.duration(d.value))
		}
	}
	if h.Retries != 0 {
		fields = append(fields, "Retries: "+strconv.Itoa(h.Retries))
	}
	if len(fields) == 1 {
		return "Healthcheck(stage.Health{" + fields[0] + "})"
	}
	return "Healthcheck(stage.Health{\n" + strings.Join(fields, ",\n") + ",\n})"
}
