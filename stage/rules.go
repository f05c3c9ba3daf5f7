package stage

import (
	"maps"

	"github.com/stagewright/stagewright/arg"
)

// DockerRules are the rules of a Dockerfile for a stage; see [Compatible].
type DockerRules struct {
	// Escape is the character that the escape directive sets; 0 means '\\'.
	Escape rune
	// Target is the value of TARGETSTAGE; empty means "default".
	Target string
}

// Compatible gives the operations of the stage the meaning of the same
// instructions in a Dockerfile, also where that surprises and the rules of this
// package are stricter:
//
//   - Texts are words of a Dockerfile: quotes and escapes are taken away, and a
//     variable without a value is empty.
//   - An argument may stay unused, and one that is declared without a default takes
//     the value of the same name in FromArgs.
//   - Of several files copied to one path the last one stays; a wildcard may match
//     nothing; "**" is "*" except with Parents; paths that leave the context are
//     taken from its root; an owner that is not known is no error; an octal Chmod
//     applies to directories made on the way; Exclude leaves a source alone that is a
//     file; files of the context keep their modes.
//   - EXPOSE takes the forms of docker run.
//
// The rules belong to the stage alone: one built from it has its own. Programs that
// read Dockerfiles want them; code written by hand rarely does.
func Compatible(r DockerRules) FromOption {
	return func(root *root) { root.rules = &r }
}

// words returns how texts are expanded under the rules.
func (r *DockerRules) words(q arg.QuoteMode) arg.Options {
	return arg.Options{Quotes: q, Escape: r.Escape}
}

// OnPlatformText pins the stage to the platform that a text names, as FROM
// --platform=text does: "linux/arm64", "$BUILDPLATFORM", "linux/${ARCH}" of the
// arguments of FromArgs and of the platform.
func OnPlatformText(text string) FromOption {
	return func(r *root) { r.pinText = text }
}

// Among lists what the reference of the base may name beside images. Where it is, once
// expanded, the key of one of them, the stage begins with that stage, as From(stage)
// would, and is pinned to no platform of its own. It is for references that hold
// variables; only the stage that is chosen is built.
func Among(stages map[string]Stage) FromOption {
	stages = maps.Clone(stages)
	return func(r *root) { r.among = stages }
}

// IgnoreOnBuild leaves the ONBUILD triggers of the base alone: they are neither run
// nor handed down.
func IgnoreOnBuild() FromOption {
	return func(r *root) { r.ignoreOnBuild = true }
}
