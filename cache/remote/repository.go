package remote

// Repository returns the repository of a cache in a registry, "registry.example.com/team/cache", from which a sink of the same registry can
// mount layers; empty for one in a layout.
func (s *Store) Repository() string {
	if r, ok := s.medium.(*inRegistry); ok {
		return r.Name()
	}
	return ""
}
