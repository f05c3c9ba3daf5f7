package stage

import "slices"

// bindings is an immutable map from names to variables: with returns a new map
// that shares nearly everything with the old one, so that each step of a long
// stage has a map of its own at little cost. It is a trie over hashes whose nodes
// hold a variable each. The nil map is empty.
type bindings struct {
	v    *variable
	kids [8]*bindings
}

func (b *bindings) find(name string) *variable {
	for h := hash(name); b != nil; h >>= 3 {
		if b.v.name == name {
			return b.v
		}
		b = b.kids[h&7]
	}
	return nil
}

func (b *bindings) with(v *variable) *bindings {
	var top *bindings
	place := &top
	for h := hash(v.name); b != nil; h >>= 3 {
		node := *b
		*place = &node
		if node.v.name == v.name {
			node.v = v
			return top
		}
		place, b = &node.kids[h&7], b.kids[h&7]
	}
	*place = &bindings{v: v}
	return top
}

// all appends every variable to a list, in no order that means anything.
func (b *bindings) all(list []*variable) []*variable {
	if b == nil {
		return list
	}
	list = append(list, b.v)
	for _, kid := range b.kids {
		list = kid.all(list)
	}
	return list
}

// hash is FNV-1a.
func hash(s string) uint64 {
	h := uint64(14695981039346656037)
	for i := range len(s) {
		h = (h ^ uint64(s[i])) * 1099511628211
	}
	return h
}

// envList is an immutable list of NAME=value. Appending to the longest of the
// lists that share an array costs no copy.
type envList struct {
	list []string
	used *int // how much of the array is taken by the longest list; nil when unknown
}

func (l envList) append(entry string) envList {
	if l.used == nil || *l.used != len(l.list) || len(l.list) == cap(l.list) {
		list := append(slices.Clip(l.list), entry)
		return envList{list, new(len(list))}
	}
	*l.used++
	return envList{append(l.list, entry), l.used}
}

func (l envList) replace(i int, entry string) envList {
	list := slices.Clone(l.list)
	list[i] = entry
	return envList{list, new(len(list))}
}
