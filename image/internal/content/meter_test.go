package content

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"testing"

	"github.com/stagewright/stagewright/image"
)

func TestMeter(t *testing.T) {
	for _, test := range []struct {
		writes []int
		want   []int64
	}{
		{nil, nil},
		{[]int{10, 0, 20}, []int64{30}},
		{[]int{meterStep - 1, 1, meterStep / 2, meterStep/2 + 7}, []int64{meterStep, 2*meterStep + 7}},
		{[]int{3 * meterStep}, []int64{3 * meterStep}},
	} {
		var total int64
		for _, n := range test.writes {
			total += int64(n)
		}
		var got []int64
		var out bytes.Buffer
		m := &Meter{W: &out, At: image.Transfer{What: "x", Total: total}, Tell: func(at image.Transfer) {
			if at.What != "x" || at.Total != total {
				t.Errorf("%+v", at)
			}
			got = append(got, at.Done)
		}}
		for _, n := range test.writes {
			if _, err := m.Write(make([]byte, n)); err != nil {
				t.Error(err)
			}
		}
		if !slices.Equal(got, test.want) || int64(out.Len()) != total {
			t.Errorf("%v: told %v, want %v; %d bytes", test.writes, got, test.want, out.Len())
		}
	}
	r, w := io.Pipe()
	r.Close()
	m := &Meter{W: w, Tell: func(image.Transfer) { t.Error("told of nothing") }}
	if _, err := m.Write([]byte("x")); !errors.Is(err, io.ErrClosedPipe) {
		t.Error(err)
	}
}
