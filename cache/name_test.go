package cache_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/stagewright/stagewright/cache"
)

func ExampleName() {
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	disk, err := cache.OpenDisk(filepath.Join(dir, "mine"), cache.DiskOptions{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer disk.Close()
	fmt.Println(strings.ReplaceAll(cache.Name(disk), dir, "DIR"))
	fmt.Println(cache.Name(cache.NewMemory()))
	// Output:
	// cache in DIR/mine
	// cache *cache.Memory
}
