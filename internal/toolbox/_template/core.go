package main

import (
	"context"
	"errors"
	"flag"
	"os"
	"strings"

	"github.com/u-root/u-root/pkg/core"
	"github.com/u-root/u-root/pkg/core/base64"
	"github.com/u-root/u-root/pkg/core/cat"
	"github.com/u-root/u-root/pkg/core/cp"
	"github.com/u-root/u-root/pkg/core/find"
	"github.com/u-root/u-root/pkg/core/gzip"
	"github.com/u-root/u-root/pkg/core/ls"
	"github.com/u-root/u-root/pkg/core/mkdir"
	"github.com/u-root/u-root/pkg/core/mktemp"
	"github.com/u-root/u-root/pkg/core/rm"
	"github.com/u-root/u-root/pkg/core/shasum"
	"github.com/u-root/u-root/pkg/core/tar"
	"github.com/u-root/u-root/pkg/core/touch"
	"github.com/u-root/u-root/pkg/core/xargs"
)

// coreCommands are the ones that u-root writes.
func coreCommands() map[string]command {
	return map[string]command{
		"base64": fromCore(base64.New),
		"cat":    fromCore(cat.New),
		"cp":     fromCore(cp.New),
		"find":   fromCore(find.New),
		"gunzip": fromCore(func() core.Command { return gzip.New("gunzip") }),
		"gzip":   fromCore(func() core.Command { return gzip.New("gzip") }),
		"ls":     listFiles,
		"mkdir":  fromCore(mkdir.New),
		"mktemp": fromCore(mktemp.New),
		"rm":     fromCore(rm.New),
		"shasum": fromCore(shasum.New),
		"tar":    fromCore(tar.New),
		"touch":  fromCore(touch.New),
		"xargs":  fromCore(xargs.New),
		"zcat":   fromCore(func() core.Command { return gzip.New("gzcat") }),
	}
}

// listFiles is u-root's ls, which reports a name that does not exist and yet ends well, with the status that scripts ask it for.
func listFiles(p *proc, args []string) error {
	operands := false
	for _, arg := range args {
		operands = operands || arg == "--"
		if arg == "--" || strings.HasPrefix(arg, "-") && !operands {
			continue
		}
		if _, err := os.Lstat(arg); err != nil {
			p.failed = true
		}
	}
	return fromCore(ls.New)(p, args)
}

// fromCore makes a u-root command one of ours. It is made only when it is called: the table is built at every start.
func fromCore(create func() core.Command) command {
	return func(p *proc, args []string) error {
		c := create()
		c.SetIO(p.in, p.out, p.err)
		err := c.RunContext(context.Background(), args...)
		if errors.Is(err, flag.ErrHelp) {
			return nil
		}
		return err
	}
}
