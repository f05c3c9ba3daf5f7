package main

import "time"

// A row is one phase of a workload, measured. Maps are by the names of the sides.
type row struct {
	Workload string              `json:"workload"`
	Title    string              `json:"title"`
	Phase    phase               `json:"phase"`
	Samples  map[string][]sample `json:"samples"`  // in the order of the runs: those of one index belong together
	Layers   map[string]int64    `json:"layers"`   // bytes of the image's layers, or of the archive
	Moved    map[string]moved    `json:"moved"`    // to and from the registry
	Children map[string]int64    `json:"children"` // peak of the largest process that a side has started, in bytes
	Failed   map[string]string   `json:"failed"`   // why a side takes no further part
	Requests map[string]int      `json:"requests,omitempty"`
	BaseRead int64               `json:"baseRead"`         // bytes of blobs that stagewright read from the registry, when requests were counted
	Opened   *int                `json:"opened,omitempty"` // files of the context that stagewright opened, when that was counted
	Budget   budget              `json:"budget"`
	Must     must                `json:"must"`
}

// moved is bytes of the bodies of requests and of answers.
type moved struct {
	Up   int64 `json:"up"`
	Down int64 `json:"down"`
}

// must is what counted figures must be; a zero field asks for nothing.
type must struct {
	Requests map[string]int `json:"requests,omitempty"` // exactly these
	NoRead   bool           `json:"noRead,omitempty"`   // no layer was read
	Opens    *int           `json:"opens,omitempty"`    // files opened, at most
}

func newRow(w workload, p phase) *row {
	r := &row{Workload: w.name, Title: w.title, Phase: p, Samples: map[string][]sample{}, Layers: map[string]int64{}, Moved: map[string]moved{},
		Children: map[string]int64{}, Failed: map[string]string{}, Budget: w.budgets[p], Must: must{Requests: w.requests[p], NoRead: w.noRead[p]}}
	if n, ok := w.opens[p]; ok {
		r.Must.Opens = &n
	}
	return r
}

// walls are the times of a side.
func (r *row) walls(side string) (list []time.Duration) {
	for _, s := range r.Samples[side] {
		list = append(list, s.Wall)
	}
	return list
}

// peak is the largest of a side's peaks.
func (r *row) peak(side string) (peak int64) {
	for _, s := range r.Samples[side] {
		peak = max(peak, s.Peak)
	}
	return peak
}
