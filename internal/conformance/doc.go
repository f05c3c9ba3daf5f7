// Package conformance compares the images that stagewright builds from Dockerfiles with those that BuildKit builds: file by file, field
// by field. It is for the tests of this module only.
//
// # Cases
//
// A case is a file testdata/cases/GROUP/NAME.txtar. Its comment begins with lines "# C22 what is shown", naming the items of
// docker-semantics.md that it covers, and has settings behind them, one "key: value" a line:
//
//	args: A=1 B="x y"            build arguments, words as in a shell
//	target: NAME                 the stage to build; the last one without it
//	platform: linux/arm64        what to build for; linux/amd64 without it
//	file: docker/app.Dockerfile  the Dockerfile, when it is not called Dockerfile
//	context NAME: DIR            a further build context: a directory of the archive, or the reference of an image
//	secret ID: TEXT              a secret of the build
//	label KEY: VALUE             a label of the build (docker build --label)
//	add-host NAME: ADDRESS       docker build --add-host
//	network: none                the network of RUN steps: none, host
//	fails: TEXT                  the build must fail, here with TEXT in the message, in BuildKit with the golden's
//	differs: WHY                 the strict language of package stage does something else on purpose
//	live: only                   there is no golden: needs bases of this machine's Debian
//
// The archive holds the Dockerfile, below context/ the build context, below other names the further contexts, and below http/ and git/NAME/
// what a web server offers: http://http.test/PATH and http://http.test/NAME.git stand for it in the Dockerfile, and so they do in
// history and results. A git repository has one commit, of a fixed time and author, branch main and tag v1.
//
// # Modes
//
// Files of an archive have mode 0644, directories 0755, and belong to 0:0. The file "modes" says what else there is in the build context ("DIR.modes" in a
// further one), one entry a line; paths are relative to it, and a word in double quotes is a Go string:
//
//	MODE UID:GID PATH            mode and owner of PATH, which is in the archive; "-" keeps either
//	MODE UID:GID PATH "TEXT"     a file with this content
//	dir MODE PATH                a directory; dir MODE UID:GID PATH gives it an owner
//	PATH -> TARGET               a symbolic link
//	PATH => OTHER                a hard link
//	fifo PATH                    a named pipe
//	socket PATH                  a socket
//	char MAJOR:MINOR PATH        a device; block MAJOR:MINOR PATH
//	xattr PATH NAME=VALUE        an extended attribute
//	base64 PATH DATA             a file with this content
//	tar.gz PATH:                 an archive (tar, tar.gz, tar.bz2, tar.xz, tar.zst) of the entries that follow, indented, in their order;
//	                             "MODE UID:GID PATH" is an empty file there
//
// # Bases
//
// Cases stand on the images bases.test/NAME that testdata/bases/NAME.txtar describes: settings "from: NAME", "toolbox: yes" (the shell and
// commands of internal/toolbox), "platforms: LIST"; the file config.json with the "config" of the image; rootfs/ and modes as above. {platform}
// in a file of a base is the platform.
//
// # Goldens
//
// testdata/golden/GROUP/NAME.txt is what BuildKit made of a case: one line a field and a file. Files that are as in the base are left out, so that
// a golden depends on neither the version of Go nor the toolbox. The nested module live writes them, and compares everything anew.
package conformance
