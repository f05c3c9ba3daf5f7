// Gotest looks at an image in a registry before it is deployed: it must say which version it is, and must not run as root.
//
//	go run ./examples/gotest registry.example.com/app:1.0
//
// What is to be seen is its test: main_test.go makes the images and the registry that the test of such a program needs.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/stagewright/stagewright/image"
	"github.com/stagewright/stagewright/image/registry"
	"github.com/stagewright/stagewright/platform"
)

const versionLabel = "org.opencontainers.image.version"

// check returns the version of an image, or what is wrong with it.
func check(ctx context.Context, client *registry.Client, ref string) (string, error) {
	found, err := client.Resolve(ctx, ref, platform.Platform{})
	if err != nil {
		return "", err
	}
	file, err := image.FileOf(found.Image)
	if err != nil {
		return "", err
	}
	var problems []error
	version := file.Config.Labels[versionLabel]
	if version == "" {
		problems = append(problems, fmt.Errorf("%s has no label %s", ref, versionLabel))
	}
	switch file.Config.User {
	case "", "0", "root":
		problems = append(problems, fmt.Errorf("%s runs as root", ref))
	}
	return version, errors.Join(problems...)
}

func main() {
	client := registry.NewClient(registry.Options{})
	for _, ref := range os.Args[1:] {
		version, err := check(context.Background(), client, ref)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		fmt.Println(ref, version)
	}
}
