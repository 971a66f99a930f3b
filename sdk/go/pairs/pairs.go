// Package pairs has keys with their values: what maps of a schema are made of, and what a store's scan finds.
package pairs

import (
	"maps"
	"slices"
)

// Pair is a key with its value.
type Pair[K, V any] struct {
	Key   K
	Value V
}

// ToMap makes a map of pairs. Go's maps have no order; those of a schema come in one.
func ToMap[V any](all []Pair[string, V]) map[string]V {
	values := make(map[string]V, len(all))
	for _, pair := range all {
		values[pair.Key] = pair.Value
	}
	return values
}

// FromMap makes pairs of a map, in the order of their keys: the same map always gives the same bytes.
func FromMap[V any](values map[string]V) []Pair[string, V] {
	all := make([]Pair[string, V], 0, len(values))
	for _, key := range slices.Sorted(maps.Keys(values)) {
		all = append(all, Pair[string, V]{Key: key, Value: values[key]})
	}
	return all
}
