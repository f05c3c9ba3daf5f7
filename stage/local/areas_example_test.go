package local_test

import (
	"context"
	"fmt"
	"os"

	"github.com/stagewright/stagewright/cache"
	"github.com/stagewright/stagewright/stage/local"
)

// What a cache takes on the disk, with all that builds keep beside records and blobs.
func ExampleAreas() {
	dir, err := os.MkdirTemp("", "cache")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	disk, err := cache.OpenDisk(dir, cache.DiskOptions{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer disk.Close()
	usage, err := disk.Usage(context.Background(), local.Areas(disk)...)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, k := range usage.Kinds {
		fmt.Println(k.Kind, k.Entries)
	}
	// Output:
	// record 0
	// blob 0
	// snapshot 0
	// mount 0
	// git 0
	// log 0
	// memo 0
}
