// Package pairs has pairs of a key and a value, which represent maps of a schema and the entries of a store's scan.
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

// ToMap makes a map of pairs. The order of the pairs is lost, because Go's maps have none.
func ToMap[V any](all []Pair[string, V]) map[string]V {
	values := make(map[string]V, len(all))
	for _, pair := range all {
		values[pair.Key] = pair.Value
	}
	return values
}

// FromMap makes pairs of a map, in the order of their keys, so the same map always gives the same bytes.
func FromMap[V any](values map[string]V) []Pair[string, V] {
	all := make([]Pair[string, V], 0, len(values))
	for _, key := range slices.Sorted(maps.Keys(values)) {
		all = append(all, Pair[string, V]{Key: key, Value: values[key]})
	}
	return all
}
