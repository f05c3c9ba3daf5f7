package conformance_test

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stagewright/stagewright/internal/conformance"
)

// Every item of docker-semantics.md that an image can show has a case, COPY and ADD, and ARG and ENV, have 60 each, and there are 350 in all.
func TestCoverage(t *testing.T) {
	cases, err := conformance.LoadCases(filepath.Join("testdata", "cases"))
	if err != nil {
		t.Fatal(err)
	}
	items := map[string]int{}
	copying, variables := 0, 0
	copies := regexp.MustCompile(`(?mi)^\s*(COPY|ADD)\s`)
	for _, c := range cases {
		for _, item := range c.Items {
			items[item]++
		}
		if copies.Match(c.Dockerfile) {
			copying++
		}
		if group, _, _ := strings.Cut(c.Name, "/"); group == "args" {
			variables++
		}
	}
	for i := 1; i <= 42; i++ {
		if item := fmt.Sprintf("C%d", i); items[item] == 0 {
			t.Errorf("no case shows %s", item)
		}
	}
	if copying < 60 || variables < 60 || len(cases) < 350 {
		t.Errorf("%d cases, %d with COPY or ADD, %d of arguments; want 350, 60 and 60", len(cases), copying, variables)
	}
}

// Every golden belongs to a case.
func TestNoStrayGolden(t *testing.T) {
	err := filepath.WalkDir(filepath.Join("testdata", "golden"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(filepath.Join("testdata", "golden"), path)
		if err != nil {
			return err
		}
		source := filepath.Join("testdata", "cases", strings.TrimSuffix(rel, ".txt")+".txtar")
		if _, err := os.Stat(source); err != nil {
			t.Errorf("%s has no case", path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
