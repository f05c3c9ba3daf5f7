package live

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"github.com/stagewright/stagewright/internal/conformance"
)

// addDebian adds the bases that are made of this machine's Debian: bases.test/busybox, of the package busybox-static, and
// bases.test/debian, whose packages are downloaded and unpacked into dir once. Cases on them are "live: only".
func addDebian(ctx context.Context, dir string, bases *conformance.Bases) error {
	busybox, err := busyboxImage(ctx)
	if err != nil {
		return err
	}
	bases.Add("busybox", busybox)
	debian, err := debianImage(ctx, dir)
	if err != nil {
		return err
	}
	bases.Add("debian", debian)
	return nil
}

const (
	passwd = "root:x:0:0:root:/root:/bin/sh\napp:x:1000:1000::/home/app:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n"
	group  = "root:x:0:\napp:x:1000:\nnogroup:x:65534:\n"
)

func busyboxImage(ctx context.Context) (v1.Image, error) {
	program, err := exec.LookPath("busybox")
	if err != nil {
		return nil, fmt.Errorf("%w: apt-get install -y busybox-static", err)
	}
	data, err := os.ReadFile(program)
	if err != nil {
		return nil, err
	}
	names, err := exec.CommandContext(ctx, program, "--list").Output()
	if err != nil {
		return nil, err
	}
	var files bytes.Buffer
	t := tar.NewWriter(&files)
	put := func(h tar.Header, content string) {
		h.Size = int64(len(content))
		if err == nil {
			err = t.WriteHeader(&h)
		}
		if err == nil {
			_, err = t.Write([]byte(content))
		}
	}
	for _, d := range []string{"bin/", "etc/", "home/", "root/", "usr/", "usr/local/", "usr/local/bin/", "var/"} {
		put(tar.Header{Typeflag: tar.TypeDir, Name: d, Mode: 0o755}, "")
	}
	put(tar.Header{Typeflag: tar.TypeDir, Name: "tmp/", Mode: 0o1777}, "")
	put(tar.Header{Typeflag: tar.TypeReg, Name: "bin/busybox", Mode: 0o755}, string(data))
	for _, name := range strings.Fields(string(names)) {
		if name != "busybox" {
			put(tar.Header{Typeflag: tar.TypeLink, Name: "bin/" + name, Linkname: "bin/busybox", Mode: 0o755}, "")
		}
	}
	put(tar.Header{Typeflag: tar.TypeReg, Name: "etc/passwd", Mode: 0o644}, passwd)
	put(tar.Header{Typeflag: tar.TypeReg, Name: "etc/group", Mode: 0o644}, group)
	put(tar.Header{Typeflag: tar.TypeDir, Name: "home/app/", Mode: 0o755, Uid: 1000, Gid: 1000}, "")
	if err == nil {
		err = t.Close()
	}
	if err != nil {
		return nil, err
	}
	return oneLayer(files.Bytes())
}

// debianPackages are a small Debian with a shell and the usual commands; what they depend on is in the list.
func debianPackages() []string {
	return []string{
		"base-files", "base-passwd", "bash", "coreutils", "dash", "debianutils", "diffutils", "dpkg", "findutils", "grep", "gzip", "hostname",
		"libacl1", "libattr1", "libaudit-common", "libaudit1", "libbz2-1.0", "libc-bin", "libc6", "libcap-ng0", "libcrypt1", "libgcc-s1",
		"libgmp10", "liblzma5", "libmd0", "libpam0g", "libpcre2-8-0", "libselinux1", "libsemanage-common", "libsemanage2", "libsepol2",
		"libssl3", "libtinfo6", "libzstd1", "login", "passwd", "sed", "tar", "zlib1g",
	}
}

func debianImage(ctx context.Context, dir string) (v1.Image, error) {
	root := filepath.Join(dir, "root")
	if _, err := os.Stat(filepath.Join(dir, "done")); err != nil {
		if err := unpackDebian(ctx, dir, root); err != nil {
			return nil, err
		}
	}
	var files bytes.Buffer
	cmd := exec.CommandContext(ctx, "tar", "-c", "--sort=name", "--numeric-owner", "--mtime=@0", "--format=pax",
		"--pax-option=delete=atime,delete=ctime", "-C", root, ".")
	cmd.Stdout = &files
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("tar of Debian: %w", err)
	}
	return oneLayer(files.Bytes())
}

func unpackDebian(ctx context.Context, dir, root string) error {
	packages := filepath.Join(dir, "packages")
	for _, d := range []string{packages, root} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			return err
		}
	}
	// Debian's merged /usr, as debootstrap makes it.
	for _, name := range []string{"bin", "sbin", "lib", "lib64"} {
		if err := os.MkdirAll(filepath.Join(root, "usr", name), 0o755); err != nil {
			return err
		}
		if err := os.Symlink("usr/"+name, filepath.Join(root, name)); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	download := exec.CommandContext(ctx, "apt-get", append([]string{"download", "-q"}, debianPackages()...)...)
	download.Dir = packages
	if out, err := download.CombinedOutput(); err != nil {
		return fmt.Errorf("apt-get download: %w: %s", err, out)
	}
	debs, err := filepath.Glob(filepath.Join(packages, "*.deb"))
	if err != nil {
		return err
	}
	for _, deb := range debs {
		files, err := exec.CommandContext(ctx, "dpkg-deb", "--fsys-tarfile", deb).Output()
		if err != nil {
			return fmt.Errorf("dpkg-deb --fsys-tarfile %s: %w", deb, err)
		}
		unpack := exec.CommandContext(ctx, "tar", "-x", "--keep-directory-symlink", "--numeric-owner", "-C", root)
		unpack.Stdin = bytes.NewReader(files)
		if out, err := unpack.CombinedOutput(); err != nil {
			return fmt.Errorf("unpack %s: %w: %s", deb, err, out)
		}
	}
	// What maintainer scripts would have made.
	for name, content := range map[string]string{"etc/passwd": passwd, "etc/group": group, "bin/sh": ""} {
		path := filepath.Join(root, name)
		if content == "" {
			err = os.Symlink("dash", path)
		} else {
			err = os.WriteFile(path, []byte(content), 0o644)
		}
		if err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	return os.WriteFile(filepath.Join(dir, "done"), nil, 0o644)
}

func oneLayer(files []byte) (v1.Image, error) {
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(files)), nil })
	if err != nil {
		return nil, err
	}
	img, err := mutate.AppendLayers(empty.Image, layer)
	if err != nil {
		return nil, err
	}
	file, err := img.ConfigFile()
	if err != nil {
		return nil, err
	}
	file = file.DeepCopy()
	file.OS, file.Architecture = "linux", "amd64"
	file.Config.Env = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
	file.Config.Cmd = []string{"/bin/sh"}
	return mutate.ConfigFile(img, file)
}
