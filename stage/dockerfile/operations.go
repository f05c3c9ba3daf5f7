package dockerfile

import (
	"strings"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"

	"github.com/stagewright/stagewright/arg"
	"github.com/stagewright/stagewright/stage"
)

// operation adds what one instruction does to stage i.
func (b *builder) operation(i int, s stage.Stage, l line) stage.Stage {
	switch c := l.command.(type) {
	case *instructions.AddCommand:
		return b.add(s, l, c)
	case *instructions.ArgCommand:
		return s.Arg(arguments(c.Args)...)
	case *instructions.CmdCommand:
		if c.PrependShell {
			return s.CmdShell(strings.Join(c.CmdLine, " "))
		}
		return s.Cmd(c.CmdLine...)
	case *instructions.CopyCommand:
		return b.copy(i, s, l, c)
	case *instructions.EntrypointCommand:
		if c.PrependShell {
			return s.EntrypointShell(strings.Join(c.CmdLine, " "))
		}
		return s.Entrypoint(c.CmdLine...)
	case *instructions.EnvCommand:
		words := pairs(c.Env)
		return s.Env(words[0], words[1], words[2:]...)
	case *instructions.ExposeCommand:
		return s.ExposeSpec(c.Ports...)
	case *instructions.HealthCheckCommand:
		return health(s, c)
	case *instructions.LabelCommand:
		words := pairs(c.Labels)
		return s.Label(words[0], words[1], words[2:]...)
	case *instructions.MaintainerCommand:
		return s.Author(c.Maintainer)
	case *instructions.OnbuildCommand:
		return s.OnBuild(c.Expression)
	case *instructions.RunCommand:
		return b.run(i, s, l, c)
	case *instructions.ShellCommand:
		return s.Shell(c.Shell...)
	case *instructions.StopSignalCommand:
		return s.StopSignal(c.Signal)
	case *instructions.UserCommand:
		return s.User(c.User)
	case *instructions.VolumeCommand:
		return s.Volume(c.Volumes...)
	case *instructions.WorkdirCommand:
		return s.Workdir(c.Path)
	}
	b.problems.add(l.at, shortened(l.node), &UnsupportedError{Feature: strings.ToUpper(l.command.Name()), Why: "this package does not know it"}, "")
	return s
}

func arguments(list []instructions.KeyValuePairOptional) []arg.Arg {
	args := make([]arg.Arg, len(list))
	for i, kv := range list {
		options := []arg.Option{arg.Written()}
		if kv.Value != nil {
			options = append(options, arg.Default(*kv.Value))
		}
		if kv.DocComment != "" {
			options = append(options, arg.Doc(kv.DocComment))
		}
		args[i] = arg.New(kv.Key, options...)
	}
	return args
}

func pairs(list instructions.KeyValuePairs) []string {
	words := make([]string, 0, 2*len(list))
	for _, kv := range list {
		words = append(words, kv.Key, kv.Value)
	}
	return words
}

func health(s stage.Stage, c *instructions.HealthCheckCommand) stage.Stage {
	h := c.Health
	switch test := h.Test; {
	case test[0] == "NONE":
		return s.NoHealthcheck()
	case test[0] == "CMD":
		return s.Healthcheck(stage.Health{
			Exec: test[1:], Interval: h.Interval, Timeout: h.Timeout,
			StartPeriod: h.StartPeriod, StartInterval: h.StartInterval, Retries: h.Retries,
		})
	default:
		return s.Healthcheck(stage.Health{
			Shell: strings.Join(test[1:], " "), Interval: h.Interval, Timeout: h.Timeout,
			StartPeriod: h.StartPeriod, StartInterval: h.StartInterval, Retries: h.Retries,
		})
	}
}
