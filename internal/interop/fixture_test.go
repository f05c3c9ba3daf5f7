package interop

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stagewright/stagewright/platform"
	"github.com/stagewright/stagewright/stage"
)

// steps is how many steps of one small file each the fixture has, stepsPerLayer how many of them share a layer where layers are grouped: the
// overlay2 driver of Docker takes 127.
const steps, stepsPerLayer = 200, 20

// capability is cap_net_bind_service=ep in the form of the kernel, VFS_CAP_REVISION_2 (capabilities(7)).
const capability = "\x01\x00\x00\x02\x00\x04\x00\x00" + "\x00\x00\x00\x00" + "\x00\x00\x00\x00" + "\x00\x00\x00\x00"

// fixture is the stage that every medium gets: every field of the configuration, and of files whatever a tar can say. base is the reference of
// the base image, probes are the programs by architecture. Ungrouped, it has a layer for each step.
func fixture(base string, probes map[string][]byte, grouped bool) stage.Stage {
	common := stage.From(base, stage.As("app")).With(small(grouped), changed)
	return stage.ForPlatform(func(p platform.Platform) stage.Stage { return programs(common, p, probes[p.Architecture]) }).With(configured)
}

// small makes the 200 steps.
func small(grouped bool) func(stage.Stage) stage.Stage {
	return func(s stage.Stage) stage.Stage {
		for first := 0; first < steps; first += stepsPerLayer {
			group := func(s stage.Stage) stage.Stage {
				for i := first; i < first+stepsPerLayer; i++ {
					s = s.File(fmt.Sprintf("/srv/steps/%03d", i), fmt.Sprintf("step %d\n", i), stage.Owner(fmt.Sprintf("%d:%d", i, 2*i)))
				}
				return s
			}
			if grouped {
				s = s.Layer(group)
			} else {
				s = group(s)
			}
		}
		return s
	}
}

// changed takes away and replaces what the base and the steps have.
func changed(s stage.Stage) stage.Stage {
	return s.
		Remove("/base/removed-later").
		Remove("/srv/steps/007").
		Layer(func(s stage.Stage) stage.Stage { // whiteouts in a directory that stays
			return s.Remove("/base/emptied/a").Remove("/base/emptied/b")
		}).
		Layer(func(s stage.Stage) stage.Stage { // a directory that is another one under the same name
			return s.Remove("/base/remade").Mkdir("/base/remade", stage.Mode(0o1777)).File("/base/remade/new", "new\n")
		}).
		Layer(func(s stage.Stage) stage.Stage { // of another type
			return s.Remove("/base/becomes-file").File("/base/becomes-file", "a file\n").
				Remove("/base/replaced").Mkdir("/base/replaced/by/directories")
		}).
		File("/base/becomes-file", "a file\n"). // as it is: a step without a layer
		Symlink("../kept", "/base/opaque/relative").
		Symlink("/nowhere/at all", "/base/dangling")
}

// programs unpacks the archive of what only a tar can say, and runs a step.
func programs(s stage.Stage, p platform.Platform, probe []byte) stage.Stage {
	open := func() (io.ReadCloser, error) {
		data, err := oddities(probe)
		return io.NopCloser(bytes.NewReader(data)), err
	}
	s = s.CopyFrom(stage.Tar(open, "oddities-"+p.Architecture), ".", "/")
	if p.Architecture != "amd64" { // an emulator runs it
		return s.RunExec([]string{"/bin/probe", "write", "/srv/ran"})
	}
	return s.CopyFrom(stage.Dir("/bin"), "busybox", "/bin/sh").
		Run("umask 027; ln /base/linked /base/opaque/linked && echo ran > /srv/ran && rm /srv/steps/100 && chmod g+s /srv/steps")
}

// oddities is a tar of the probe and of files that no other step can make.
func oddities(probe []byte) ([]byte, error) {
	long := strings.Repeat("long-directory-name-", 10)
	xattr := func(name, value string) map[string]string { return map[string]string{"SCHILY.xattr." + name: value} }
	return tarOf([]entry{
		{tar.Header{Name: "bin/", Typeflag: tar.TypeDir, Mode: 0o755}, ""},
		{tar.Header{Name: "bin/probe", Mode: 0o755}, string(probe)},
		{tar.Header{Name: "bin/probe-too", Typeflag: tar.TypeLink, Linkname: "bin/probe"}, ""},
		{tar.Header{Name: "bin/setuid", Mode: 0o4755}, string(probe)},
		{tar.Header{Name: "bin/capable", Mode: 0o755, PAXRecords: xattr("security.capability", capability)}, string(probe)},
		{tar.Header{Name: "odd/", Typeflag: tar.TypeDir, Mode: 0o2775, Uid: 1000, Gid: 1001, PAXRecords: xattr("user.of.directory", "d")}, ""},
		{tar.Header{Name: "odd/a", Mode: 0o6111, Uid: 70000, Gid: 4000000000, PAXRecords: xattr("user.text", "an attribute\nof two lines")}, "linked\n"},
		{tar.Header{Name: "odd/z/b", Typeflag: tar.TypeLink, Linkname: "odd/a"}, ""},
		{tar.Header{Name: "odd/c", Typeflag: tar.TypeLink, Linkname: "odd/a"}, ""},
		{tar.Header{Name: "odd/empty", Mode: 0o000}, ""},
		{tar.Header{Name: "odd/binary-attribute", Mode: 0o644, PAXRecords: xattr("user.binary", "=\n\x01\xff\xfe")}, "x"},
		{tar.Header{Name: "odd/" + long + "/" + long + "/file", Mode: 0o644}, "a long path\n"},
		{tar.Header{Name: "odd/long-link", Typeflag: tar.TypeSymlink, Linkname: long + "/" + long + "/file"}, ""},
		{tar.Header{Name: "odd/grüße 世界", Mode: 0o644}, "not ASCII\n"},
		{tar.Header{Name: "odd/-rf *\\ \"quoted\" $HOME", Mode: 0o644}, "for shells\n"},
		{tar.Header{Name: "odd/two\nlines", Mode: 0o644}, "for programs that read lines\n"},
		{tar.Header{Name: "odd/large", Mode: 0o644}, strings.Repeat("0123456789abcdef", 3<<16)},
		{tar.Header{Name: "odd/fifo", Typeflag: tar.TypeFifo, Mode: 0o620}, ""},
		{tar.Header{Name: "odd/null", Typeflag: tar.TypeChar, Devmajor: 1, Devminor: 3, Mode: 0o666}, ""},
		{tar.Header{Name: "srv/app/", Typeflag: tar.TypeDir, Mode: 0o750, Uid: 1000, Gid: 1001}, ""},
		{tar.Header{Name: "var/lib/app/", Typeflag: tar.TypeDir, Mode: 0o700, Uid: 1000, Gid: 1001}, ""},
		{tar.Header{Name: "var/lib/app/seed", Mode: 0o600, Uid: 1000, Gid: 1001}, "a volume's first content\n"},
	})
}

// configured sets every field of the configuration.
func configured(s stage.Stage) stage.Stage {
	return s.
		Env("PATH", "/bin:/usr/bin", "TEXT", "several words, \"quotes\" and 'apostrophes'", "EMPTY", "", "UNICODE", "grüße", "EQUALS", "a=b=c").
		Workdir("/srv/app").
		User("app:crew").
		Expose(8080, stage.UDP(53), stage.SCTP(9999)).
		Volume("/var/lib/app").
		Label("org.example.text", "several words\nand lines", "empty", "").
		StopSignal("SIGQUIT").
		Healthcheck(stage.Health{
			Exec: []string{"/bin/probe", "identity"}, Interval: 61 * time.Second, Timeout: 2500 * time.Millisecond, StartPeriod: time.Minute,
			StartInterval: 3 * time.Second, Retries: 7,
		}).
		OnBuild("RUN echo \"from the child\"").
		Shell("/bin/sh", "-e", "-c").
		Author("An Author <author@example.org>").
		Entrypoint("/bin/probe", "self").
		Cmd("one", "two words", "")
}

// compileProbe compiles the probe for an architecture.
func compileProbe(t testing.TB, arch, to string) []byte {
	t.Helper()
	run(t, command{args: []string{"go", "build", "-trimpath", "-ldflags=-s -w", "-o", to, "./probe"}, env: []string{"CGO_ENABLED=0", "GOOS=linux", "GOARCH=" + arch}})
	data, err := os.ReadFile(to)
	if err != nil {
		t.Fatal(err)
	}
	return data
}
