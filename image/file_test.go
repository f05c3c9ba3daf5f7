package image_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stagewright/stagewright/image"
)

// foreign is a config blob as an old Docker wrote it, with fields that nobody needs any more and one that nobody knows.
const foreign = `{"architecture":"arm","config":{"Hostname":"c0ffee","Env":["PATH=/bin"],"Cmd":["sh"],"MacAddress":"","Custom":true},` +
	`"container":"c0ffee","container_config":{"Cmd":["x"]},"created":"2020-01-02T03:04:05.000000006Z","docker_version":"19.03",` +
	`"history":[{"created":"2020-01-02T03:04:05Z","created_by":"ADD x"},{"created_by":"CMD","empty_layer":true}],` +
	`"moby.buildkit.buildinfo.v1":"abc","os":"linux","os.features":["f"],"os.version":"1.2",` +
	`"rootfs":{"type":"layers","diff_ids":["sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"]},"variant":"v7"}`

func TestFileKeepsWhatItDoesNotKnow(t *testing.T) {
	f, err := image.ParseFile([]byte(foreign))
	if err != nil {
		t.Fatal(err)
	}
	if f.OS != "linux" || f.Architecture != "arm" || f.Variant != "v7" || f.OSVersion != "1.2" || len(f.OSFeatures) != 1 ||
		len(f.History) != 2 || !f.History[1].EmptyLayer || len(f.RootFS.DiffIDs) != 1 || f.Created.Nanosecond() != 6 {
		t.Errorf("%+v", f)
	}
	b, err := f.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	var want, got any
	if json.Unmarshal([]byte(foreign), &want) != nil || json.Unmarshal(b, &got) != nil {
		t.Fatal("not JSON")
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	again, err := image.ParseFile(b)
	if err != nil {
		t.Fatal(err)
	}
	if b2, _ := again.Marshal(); !bytes.Equal(b, b2) {
		t.Errorf("not stable:\n%s\n%s", b, b2)
	}
}

func TestFileIsWrittenInBuildKitsOrder(t *testing.T) {
	created := time.Date(2024, 5, 6, 7, 8, 9, 0, time.UTC)
	f := image.File{
		Created: &created, Author: "me", Architecture: "amd64", OS: "linux", Config: image.Config{Cmd: []string{"a && b"}},
		History: []image.History{{Created: &created, CreatedBy: "RUN x", Author: "me", Comment: "c", EmptyLayer: true}},
	}
	const want = `{"architecture":"amd64","author":"me","config":{"Cmd":["a \u0026\u0026 b"]},"created":"2024-05-06T07:08:09Z",` +
		`"history":[{"created":"2024-05-06T07:08:09Z","created_by":"RUN x","author":"me","comment":"c","empty_layer":true}],` +
		`"os":"linux","rootfs":{"type":"layers","diff_ids":[]}}`
	b, err := f.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, string(b)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	f.Extra = map[string]json.RawMessage{"os": json.RawMessage(`"x"`)}
	if _, err := f.Marshal(); err == nil || !strings.Contains(err.Error(), `"os"`) {
		t.Errorf("Extra overrides a field: %v", err)
	}
}

func TestFileRefusesWhatIsNoConfig(t *testing.T) {
	for in, want := range map[string]string{
		"":                                      "not an OCI or Docker",
		"null":                                  "null",
		"[]":                                    "not an OCI or Docker",
		`{"os":1}`:                              "not an OCI or Docker",
		`{} {}`:                                 "not an OCI or Docker",
		`{"rootfs":{"diff_ids":["sha256:x"]}}`:  "not an OCI or Docker",
		`{"rootfs":{"diff_ids":["../../etc"]}}`: "not an OCI or Docker",
		`{"history":[{"created":"yesterday"}]}`: "not an OCI or Docker",
		`{"x":"` + strings.Repeat("a", 5<<20) + `"}`:    "the limit is",
		strings.Repeat(`{"config":`, 20000) + "1" + "}": "not an OCI or Docker",
	} {
		if _, err := image.ParseFile([]byte(in)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40q: error %v, want %q", in, err, want)
		}
	}
}

func TestFileChildDropsTheContainerOfTheBase(t *testing.T) {
	f, err := image.ParseFile([]byte(foreign))
	if err != nil {
		t.Fatal(err)
	}
	c := f.Child()
	if c.Created != nil || len(c.History) != 2 || c.Variant != "v7" || len(c.Extra) != 1 || len(c.Config.Extra) != 1 || c.Config.Extra["Custom"] == nil {
		t.Errorf("%+v", c)
	}
	c.History[0].CreatedBy, c.OSFeatures[0], c.Config.Env[0] = "x", "x", "x"
	*c.History[0].Created = time.Time{}
	c.RootFS.DiffIDs[0].Hex = "x"
	if f.Created == nil || len(f.Extra) != 4 || f.History[0].CreatedBy != "ADD x" || f.History[0].Created.IsZero() ||
		f.OSFeatures[0] != "f" || f.Config.Env[0] != "PATH=/bin" || f.RootFS.DiffIDs[0].Hex == "x" {
		t.Errorf("an edit of the child reached the base: %+v", f)
	}
}

// FuzzParseFile: what is accepted can be written, and what is written reads back as the same bytes.
func FuzzParseFile(f *testing.F) {
	f.Add([]byte(foreign))
	f.Add([]byte(`{"config":` + everyConfig + `,"os":"linux","architecture":"amd64","rootfs":{"type":"layers","diff_ids":[]}}`))
	f.Add([]byte(`{"OS":"linux","os":"windows","config":{"cmd":null,"CMD":[]}}`))
	f.Fuzz(func(t *testing.T, in []byte) {
		file, err := image.ParseFile(in)
		if err != nil {
			return
		}
		b, err := file.Marshal()
		if err != nil {
			if file.Created != nil || len(file.History) > 0 { // a year that JSON cannot write
				return
			}
			t.Fatalf("accepted, and cannot be written: %v", err)
		}
		again, err := image.ParseFile(b)
		if err != nil {
			t.Fatalf("written, and cannot be read: %v\n%s", err, b)
		}
		if b2, err := again.Marshal(); err != nil || !bytes.Equal(b, b2) {
			t.Fatalf("not stable (%v):\n%s\n%s", err, b, b2)
		}
	})
}
