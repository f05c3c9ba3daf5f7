package absent_test

import (
	"bytes"
	"io"
	"testing"
	"testing/fstest"

	"github.com/stagewright/stagewright/internal/absent"
)

type function func()

func TestIs(t *testing.T) {
	for name, test := range map[string]struct {
		v    any
		want bool
	}{
		"nil":              {nil, true},
		"nil pointer":      {(*bytes.Buffer)(nil), true},
		"nil function":     {function(nil), true},
		"empty map":        {fstest.MapFS(nil), false},
		"empty slice":      {[]int(nil), false},
		"pointer":          {&bytes.Buffer{}, false},
		"function":         {function(func() {}), false},
		"zero value":       {0, false},
		"value of methods": {struct{ io.Reader }{}, false},
	} {
		if got := absent.Is(test.v); got != test.want {
			t.Errorf("%s: %v", name, got)
		}
	}
	if i := absent.Index([]io.Reader{&bytes.Buffer{}, (*bytes.Buffer)(nil), nil}); i != 1 {
		t.Errorf("the first that is absent is %d", i)
	}
	if i := absent.Index([]io.Reader{}); i != -1 {
		t.Errorf("of none %d is absent", i)
	}
}
