package filemode

import (
	"io/fs"
	"testing"
)

func TestParse(t *testing.T) {
	for _, test := range []struct {
		text            string
		mode, file, dir uint32
	}{
		{"755", 0o600, 0o755, 0o755},
		{"7777", 0, 0o7777, 0o7777},
		{"u+x", 0o644, 0o744, 0o744},
		{"+x", 0o644, 0o755, 0o755},
		{"go-rwx", 0o4777, 0o4700, 0o4700},
		{"u=rwX,go=rX", 0o600, 0o644, 0o755},
		{"u=rwX,go=rX", 0o700, 0o755, 0o755},
		{"-X", 0o755, 0o644, 0o644},
		{"g=u,o-w", 0o742, 0o770, 0o770},
		{"u=g+x", 0o640, 0o540, 0o540},
		{"u+s,+t", 0o755, 0o5755, 0o5755},
		{"o+st", 0o755, 0o755, 0o755},
		{"a=", 0o7777, 0o1000, 0o1000},
		// As in setmode(3): sticky narrows the classes when none is named, and an
		// operand that copies ends what "=" did.
		{"+rt", 0, 0o1000, 0o1000},
		{"u=gr", 0o070, 0o470, 0o470},
		{"u=rwg", 0o050, 0o550, 0o550},
		{"go=u-w", 0o700, 0o755, 0o755},
	} {
		c, err := Parse(test.text)
		if err != nil {
			t.Errorf("%s: %v", test.text, err)
			continue
		}
		if file, dir := c.Of(test.mode, false), c.Of(test.mode, true); file != test.file || dir != test.dir {
			t.Errorf("%s of %04o: file %04o, directory %04o; want %04o, %04o", test.text, test.mode, file, dir, test.file, test.dir)
		}
	}
	for _, text := range []string{"", "8", "77777", "u", "rw", "u+q", "u+r,", ",u+r", "u++,", "a b"} {
		if c, err := Parse(text); err == nil {
			t.Errorf("%q is %v", text, c)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, text := range []string{"755", "u+rwX,go-w", "=rX", "u=g,o-st", "+t"} {
		f.Add(text, uint32(0o644), true)
	}
	f.Fuzz(func(t *testing.T, text string, mode uint32, dir bool) {
		mode &= 0o7777
		c, err := Parse(text)
		if err != nil {
			return
		}
		once := c.Of(mode, dir)
		if once > 0o7777 || c.Of(mode, dir) != once {
			t.Errorf("%q of %04o: %o", text, mode, once)
		}
		if c.absolute && (once != c.mode || c.Of(0, !dir) != once) {
			t.Errorf("%q of %04o: %o", text, mode, once)
		}
	})
}

func TestBits(t *testing.T) {
	for bits := range uint32(0o10000) {
		if got := Bits(FS(bits) | fs.ModeDir); got != bits {
			t.Fatalf("%o became %o", bits, got)
		}
	}
	if FS(0o105755) != fs.ModeSetuid|fs.ModeSticky|0o755 {
		t.Errorf("%s", FS(0o105755))
	}
}
