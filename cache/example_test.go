package cache_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"sync"

	"github.com/stagewright/stagewright/cache"
)

// shout stands for something slow: it is done once for each input.
func shout(ctx context.Context, s cache.Store, input string) (string, error) {
	key := cache.NewKey("shout", 1).String("input", input).Sum()
	data, err := s.Get(ctx, key)
	if err == nil {
		return string(data), nil
	}
	if !errors.Is(err, cache.ErrNotFound) {
		return "", err
	}
	fmt.Println("working")
	output := input + "!"
	return output, s.Put(ctx, key, []byte(output))
}

func ExampleOpenDisk() {
	dir, err := os.MkdirTemp("", "cache")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	store, err := cache.OpenDisk(dir, cache.DiskOptions{})
	if err != nil {
		log.Fatal(err)
	}
	defer store.Close()

	for range 2 {
		fmt.Println(shout(context.Background(), store, "hello"))
	}
	// Output:
	// working
	// hello! <nil>
	// hello! <nil>
}

func ExampleNewMemory() {
	store := cache.NewMemory()
	for range 2 {
		fmt.Println(shout(context.Background(), store, "hello"))
	}
	// Output:
	// working
	// hello! <nil>
	// hello! <nil>
}

func ExamplePutBlob() {
	ctx, store := context.Background(), cache.NewMemory()
	d, err := cache.PutBlob(ctx, store, []byte("hello\n"))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(d)
	data, err := cache.ReadBlob(ctx, store, d, 1<<20)
	fmt.Printf("%q %v\n", data, err)
	// Output:
	// sha256:5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03
	// "hello\n" <nil>
}

func ExampleNewReader() {
	ctx, store := context.Background(), cache.NewMemory()
	d, err := cache.PutBlob(ctx, store, []byte("hello"))
	if err != nil {
		log.Fatal(err)
	}
	r, size, err := cache.NewReader(ctx, store, d)
	if err != nil {
		log.Fatal(err)
	}
	defer r.Close()
	var text string
	fmt.Fscan(r, &text)
	fmt.Println(text, size)
	// Output: hello 5
}

// Who reads a part of a blob compares what he can, and has a damaged one forgotten as NewReader does.
func ExampleDropBlob() {
	ctx, store := context.Background(), cache.NewMemory()
	d, err := cache.PutBlob(ctx, store, []byte("header, body"))
	if err != nil {
		log.Fatal(err)
	}
	blob, err := store.Open(ctx, d)
	if err != nil {
		log.Fatal(err)
	}
	defer blob.Close()
	header := make([]byte, 6)
	if _, err := blob.ReadAt(header, 0); err != nil {
		log.Fatal(err)
	}
	if string(header) != "HEADER" {
		cache.DropBlob(ctx, store, d, blob)
	}
	_, err = store.Open(ctx, d)
	fmt.Println(errors.Is(err, cache.ErrNotFound))
	// Output: true
}

func ExampleLease() {
	// While the lease is open nothing is removed from the store.
	lease, err := cache.Lease(context.Background(), cache.NewMemory())
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(lease.Close())
	// Output: <nil>
}

func ExampleLock() {
	ctx, store := context.Background(), cache.NewMemory()
	key := cache.NewKey("example", 1).Sum()
	var wg sync.WaitGroup
	for range 3 { // or in three processes, with a store on disk
		wg.Go(func() {
			lock, err := cache.Lock(ctx, store, key, nil)
			if err != nil {
				log.Fatal(err)
			}
			defer lock.Close()
			if _, err := store.Get(ctx, key); err == nil {
				return // whoever had the lock before has put it
			}
			fmt.Println("working")
			if err := store.Put(ctx, key, nil); err != nil {
				log.Fatal(err)
			}
		})
	}
	wg.Wait()
	// Output: working
}

func ExampleParseDigest() {
	_, err := cache.ParseDigest("sha1:da39a3ee")
	fmt.Println(err)
	// Output: cache: digest "sha1:da39a3ee" is not "sha256:" followed by 64 lower-case hexadecimal digits
}

func ExampleParseKey() {
	key := cache.NewKey("any", 1).Sum()
	again, err := cache.ParseKey(key.String())
	fmt.Println(again == key, err)
	// Output: true <nil>
}

func ExampleDir() {
	_, ok := cache.Dir(cache.NewMemory())
	fmt.Println(ok)
	// Output: false
}

func ExampleVerify() {
	// For a store of one's own: what Commit returns when the digest is wrong.
	err := cache.Verify("commit", cache.Digest{1}, cache.Digest{2})
	var corrupt *cache.CorruptError
	fmt.Println(errors.As(err, &corrupt), corrupt.Got.Hex()[:4])
	// Output: true 0200
}

func ExamplePutAll() {
	ctx := context.Background()
	store := cache.NewMemory()
	var records []cache.Record
	for _, word := range []string{"one", "two"} {
		records = append(records, cache.Record{Key: cache.NewKey("length", 1).String("of", word).Sum(), Data: fmt.Append(nil, len(word))})
	}
	if err := cache.PutAll(ctx, store, records); err != nil {
		log.Fatal(err)
	}
	data, err := store.Get(ctx, records[1].Key)
	fmt.Println(string(data), err)
	// Output: 3 <nil>
}
