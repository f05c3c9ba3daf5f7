package image_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stagewright/stagewright/image"
)

// everyConfig has a value in each field, in the form in which Docker and BuildKit write it.
const everyConfig = `{"User":"1000:1000","ExposedPorts":{"80/tcp":{},"81/udp":{}},"Env":["PATH=/bin","A="],"Entrypoint":["/e"],"Cmd":["a","b"],` +
	`"Volumes":{"/v":{}},"WorkingDir":"/w","Labels":{"k":"v"},"StopSignal":"SIGINT","ArgsEscaped":true,` +
	`"Healthcheck":{"Test":["CMD","/h"],"Interval":1000000000,"Timeout":2000000000,"StartPeriod":3000000000,"StartInterval":4000000000,"Retries":5},` +
	`"OnBuild":["RUN x"],"Shell":["/bin/sh","-c"]}`

func fullConfig() image.Config {
	return image.Config{
		User: "1000:1000", ExposedPorts: map[string]struct{}{"81/udp": {}, "80/tcp": {}}, Env: []string{"PATH=/bin", "A="},
		Entrypoint: []string{"/e"}, Cmd: []string{"a", "b"}, Volumes: map[string]struct{}{"/v": {}}, WorkingDir: "/w",
		Labels: map[string]string{"k": "v"}, StopSignal: "SIGINT", ArgsEscaped: true,
		Healthcheck: &image.Healthcheck{
			Test: []string{"CMD", "/h"}, Interval: time.Second, Timeout: 2 * time.Second, StartPeriod: 3 * time.Second,
			StartInterval: 4 * time.Second, Retries: 5,
		},
		OnBuild: []string{"RUN x"}, Shell: []string{"/bin/sh", "-c"},
	}
}

func TestConfigIsWrittenInDockersOrder(t *testing.T) {
	b, err := json.Marshal(fullConfig())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(everyConfig, string(b)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	var back image.Config
	if err := json.Unmarshal(b, &back); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(fullConfig(), back); diff != "" {
		t.Errorf("read back (-want +got):\n%s", diff)
	}
}

func TestEmptyConfigIsAnEmptyObject(t *testing.T) {
	for _, c := range []image.Config{{}, {Cmd: []string{}, Entrypoint: []string{}, Labels: map[string]string{}}} {
		b, err := json.Marshal(c)
		if err != nil || string(b) != "{}" {
			t.Errorf("%s, %v", b, err)
		}
	}
}

func TestConfigKeepsWhatItDoesNotKnow(t *testing.T) {
	const in = `{"Zeta":[1,2],"cmd":["x"],"Alpha":{"a":null},"User":"u"}`
	var c image.Config
	if err := json.Unmarshal([]byte(in), &c); err != nil {
		t.Fatal(err)
	}
	if len(c.Cmd) != 1 || len(c.Extra) != 2 {
		t.Fatalf("%+v", c)
	}
	b, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	if want := `{"User":"u","Cmd":["x"],"Alpha":{"a":null},"Zeta":[1,2]}`; string(b) != want {
		t.Errorf("got %s\nwant %s", b, want)
	}
}

func TestConfigExtraCannotOverrideAField(t *testing.T) {
	c := image.Config{Extra: map[string]json.RawMessage{"uSER": json.RawMessage(`"root"`)}}
	if _, err := json.Marshal(c); err == nil || !strings.Contains(err.Error(), `"uSER"`) {
		t.Errorf("error %v", err)
	}
	c = image.Config{Extra: map[string]json.RawMessage{"X": json.RawMessage(`{`)}}
	if _, err := json.Marshal(c); err == nil {
		t.Error("broken JSON in Extra was written")
	}
	c = image.Config{Extra: map[string]json.RawMessage{"X": nil}}
	if b, err := json.Marshal(c); err == nil && !json.Valid(b) {
		t.Errorf("written: %s", b)
	}
}

func TestConfigCloneSharesNothing(t *testing.T) {
	c := fullConfig()
	c.Extra = map[string]json.RawMessage{"X": json.RawMessage(`1`)}
	before, _ := json.Marshal(c)
	d := c.Clone()
	d.ExposedPorts["x"], d.Volumes["x"], d.Labels["k"] = struct{}{}, struct{}{}, "x"
	for _, s := range [][]string{d.Env, d.Entrypoint, d.Cmd, d.OnBuild, d.Shell, d.Healthcheck.Test} {
		s[0] = "x"
	}
	d.Healthcheck.Retries = 9
	d.Extra["X"][0] = '2'
	d.Extra["Y"] = json.RawMessage(`1`)
	if after, _ := json.Marshal(c); string(after) != string(before) {
		t.Errorf("an edit of the copy reached the original:\n%s\n%s", before, after)
	}
	if e := (image.Config{Cmd: []string{}}).Clone(); e.Cmd == nil {
		t.Error("an empty Cmd became nil")
	}
}
