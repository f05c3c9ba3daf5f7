package local

import (
	"cmp"
	"context"
	"encoding/binary"
	"encoding/json"
	"path/filepath"
	"slices"
	"strings"

	"github.com/stagewright/stagewright/cache"
	"github.com/stagewright/stagewright/platform"
	"github.com/stagewright/stagewright/stage"
)

// The history of a stage on a platform, in a build with one context, is a record with the recipe
// keys of the steps that its builds made or found: those of the last build first and in their order, then those of earlier
// ones that it had not. It is written by builds that made something. Only
// explanations read it, so that one that is lost, or written by two builds at once, costs
// an answer and nothing else.
//
//	entry    the recipe key, 32 bytes; the kind of the operation, 1 byte; the place in the stage, 3 bytes, big-endian
type historyEntry struct {
	key  cache.Key
	kind byte
	at   int
}

const (
	historyVersion = 1
	entrySize      = len(cache.Key{}) + 4
	// A history keeps some times as many steps as the stage has.
	historyTimes = 4
	minHistory   = 256
	maxHistory   = 16 << 10
)

// kinds are the kinds of operations in a history. Their order is part of its form.
func kinds() []string {
	return []string{"", "base", "run", "copy", "file", "mkdir", "symlink", "remove", "workdir", "merge", "apply", "func"}
}

func kindOf(step *stage.Step) byte { return byte(max(0, slices.Index(kinds(), step.Kind()))) }

// historyName says whose history it is.
type historyName struct {
	Stage    string `json:"stage"`
	Platform string `json:"platform"`
	Context  string `json:"context,omitempty"`
}

func (n historyName) key() cache.Key {
	return cache.NewKey("history", historyVersion).String("stage", n.Stage).String("platform", n.Platform).String("context", n.Context).Sum()
}

// historyPlaces says of each step in whose history it is, and at which place among those of the
// stage that change files.
func (s *session) historyPlaces() (names []historyName, places []int) {
	context := ""
	switch from := s.request.Context.(type) {
	case nil:
	case stage.DirSource:
		// A digest: nobody needs the path.
		if dir, err := filepath.Abs(from.Path); err == nil {
			context = cache.NewKey("context", 1).String("directory", dir).Sum().Hex()[:16]
		}
	default:
		context = cache.NewKey("context", 1).String("source", from.String()).Sum().Hex()[:16]
	}
	names, places = make([]historyName, len(s.steps)), make([]int, len(s.steps))
	type stagePlatform struct {
		stage    string
		platform platform.Platform
	}
	called := map[stagePlatform]historyName{}
	length := map[historyName]*int{} // by name, which two spellings of a stage share
	var last stagePlatform           // most often that of the next step
	var name historyName
	var at *int
	for i, step := range s.steps {
		if of := (stagePlatform{step.Stage, step.Platform}); i == 0 || of != last {
			var ok bool
			if name, ok = called[of]; !ok {
				name = historyName{Stage: strings.ToLower(step.Stage), Platform: step.Platform.String(), Context: context}
				called[of] = name
			}
			if at = length[name]; at == nil {
				at = new(int)
				length[name] = at
			}
			last = of
		}
		names[i] = name
		if places[i] = *at; s.needed[i] && changesFiles(step.Op) {
			*at++
		}
	}
	return names, places
}

func encodeHistory(entries []historyEntry) []byte {
	data := make([]byte, 0, len(entries)*entrySize)
	for _, e := range entries {
		data = append(data, e.key[:]...)
		data = binary.BigEndian.AppendUint32(data, uint32(e.kind)<<24|uint32(min(e.at, 1<<24-1)))
	}
	return data
}

// decodeHistory reads what encodeHistory wrote; of anything else what makes sense.
func decodeHistory(data []byte) (entries []historyEntry) {
	for len(data) >= entrySize && len(entries) < maxHistory {
		tail := binary.BigEndian.Uint32(data[len(cache.Key{}):])
		entries = append(entries, historyEntry{key: cache.Key(data[:len(cache.Key{})]), kind: byte(tail >> 24), at: int(tail & (1<<24 - 1))})
		data = data[entrySize:]
	}
	return entries
}

// history reads a history; one that is not there is empty.
func (s *session) history(ctx context.Context, name historyName) ([]historyEntry, error) {
	data, err := s.opts.Store.Get(ctx, name.key())
	if err != nil {
		return nil, ctx.Err()
	}
	return decodeHistory(data), nil
}

// noteMade notes that the record of a step was written. That of a base is in each build that
// looks at it.
func (s *session) noteMade(step *stage.Step) {
	if _, ok := step.Op.(*stage.BaseOp); ok {
		return
	}
	s.reportMu.Lock()
	defer s.reportMu.Unlock()
	s.made[step.ID] = true
}

// noteMissed notes why the record of a step's recipe did not count.
func (s *session) noteMissed(step *stage.Step, why stage.Cause) {
	s.reportMu.Lock()
	defer s.reportMu.Unlock()
	if s.missed == nil {
		s.missed = map[int]stage.Cause{}
	}
	s.missed[step.ID] = why
}

// remember writes the histories of the stages of which this build made a step. It is
// nothing that a build could fail of.
func (s *session) remember(ctx context.Context) {
	if !slices.Contains(s.made, true) {
		return
	}
	ctx = context.WithoutCancel(ctx) // what was made is made
	names, places := s.historyPlaces()
	stages := map[historyName][]*stage.Step{}
	wanted := map[historyName]bool{}
	s.reportMu.Lock()
	for i, step := range s.steps {
		if s.made[i] && s.needed[i] && changesFiles(step.Op) {
			wanted[names[i]] = true
		}
	}
	for i, step := range s.steps {
		if !s.needed[i] || !changesFiles(step.Op) || !wanted[names[i]] {
			continue
		}
		report, ok := s.reports[i]
		if done := ok && (report.Status == stage.Hit || report.Status == stage.Ran); s.made[i] || done {
			stages[names[i]] = append(stages[names[i]], step)
		}
	}
	s.reportMu.Unlock()
	s.before = map[historyName][]historyEntry{}
	var written []historyName
	for name, steps := range stages {
		old, _ := s.history(ctx, name)
		s.before[name] = old
		if s.opts.Store.Put(ctx, name.key(), encodeHistory(s.newer(steps, places, old))) == nil {
			written = append(written, name)
		}
	}
	slices.SortFunc(written, compareNames)
	s.listHistories(ctx, written)
}

// newer puts the steps of a stage before those of its earlier builds.
func (s *session) newer(steps []*stage.Step, places []int, old []historyEntry) []historyEntry {
	entries := make([]historyEntry, 0, len(steps)+len(old))
	seen := make(map[cache.Key]bool, len(steps)+len(old))
	for _, step := range steps {
		if key := s.recipes[step.ID]; !seen[key] {
			seen[key] = true
			entries = append(entries, historyEntry{key: key, kind: kindOf(step), at: places[step.ID]})
		}
	}
	for _, e := range old {
		if !seen[e.key] {
			seen[e.key] = true
			entries = append(entries, e)
		}
	}
	return entries[:min(len(entries), max(minHistory, historyTimes*len(steps)), maxHistory)]
}

func compareNames(a, b historyName) int {
	return cmp.Or(cmp.Compare(a.Stage, b.Stage), cmp.Compare(a.Platform, b.Platform), cmp.Compare(a.Context, b.Context))
}

// The list of histories has the names of the last ones that were written, so that the steps
// of a stage that was renamed, or is built for another platform or in another directory, are
// found.
const maxHistories = 64

func histories() cache.Key { return cache.NewKey("histories", historyVersion).Sum() }

// listHistories puts names to the front of the list. Those that are far enough at the front stay
// where they are: a build that is repeated writes no list.
func (s *session) listHistories(ctx context.Context, names []historyName) {
	list, _, err := load[[]historyName](ctx, s, histories())
	if err != nil {
		return
	}
	names = slices.DeleteFunc(names, func(n historyName) bool {
		i := slices.Index(list, n)
		return i >= 0 && i < maxHistories/2
	})
	if len(names) == 0 {
		return
	}
	list = append(slices.Clone(names), slices.DeleteFunc(list, func(n historyName) bool { return slices.Contains(names, n) })...)
	if data, err := json.Marshal(list[:min(len(list), maxHistories)]); err == nil {
		_ = s.opts.Store.Put(ctx, histories(), data)
	}
}
