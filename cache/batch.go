package cache

import "context"

// Record is a record with its key.
type Record struct {
	Key  Key
	Data []byte
}

// Batcher is a [Store] to which many records cost less together. Use [PutAll].
type Batcher interface {
	// PutAll is as the package function.
	PutAll(ctx context.Context, records []Record) error
}

// PutAll puts several records, which may become visible one after the other. Each is as good as by Put: when PutAll returns, every
// blob committed before it through the same store lasts at least as long as they do. The store keeps no reference to the data.
// A store that is no [Batcher] puts them one by one. After an error some of the records are there.
func PutAll(ctx context.Context, s Store, records []Record) error {
	if b, ok := s.(Batcher); ok {
		return b.PutAll(ctx, records)
	}
	for _, r := range records {
		if err := s.Put(ctx, r.Key, r.Data); err != nil {
			return err
		}
	}
	return ctx.Err()
}
