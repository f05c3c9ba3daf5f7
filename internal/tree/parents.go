package tree

// WithParents returns changes with every directory above one of them added,
// its metadata taken from full, the tree after the changes; the root is not
// added. Layers need that: where each layer is unpacked on its own and then
// overlaid, a directory without an entry would get metadata of its own making,
// and /tmp would lose its sticky bit. Changes must be in the order of [Walk],
// and so is the result; the argument is not edited.
func WithParents(changes []Change, full *Node) []Change {
	out := make([]Change, 0, len(changes)+len(changes)/8+8)
	above := "" // the deepest directory known to be in out, with all above it
	for _, c := range changes {
		dir, _ := splitLast(c.Path)
		n := full
		for end := 0; end < len(dir); end++ {
			from := end
			for end < len(dir) && dir[end] != '/' {
				end++
			}
			if n = n.Child(dir[from:end]); n == nil || n.kind != Dir {
				break
			}
			if !within(above, dir[:end]) {
				out = append(out, Change{Path: dir[:end], Node: NewDir(n.meta)})
			}
		}
		above = dir
		if c.Node.IsDir() {
			above = c.Path
		}
		out = append(out, c)
	}
	return out
}

// within reports whether path is dir or below it.
func within(path, dir string) bool {
	return len(path) >= len(dir) && path[:len(dir)] == dir && (len(path) == len(dir) || dir == "" || path[len(dir)] == '/')
}
