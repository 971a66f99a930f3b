package heddle

import "heddle/pairs"

// Store is a store of the component. A handler reads its own writes and those of earlier deliveries of the same
// partition. Its writes are kept only if it succeeds.
type Store[K, V any] struct {
	get    func(key K) *V
	put    func(key K, value V)
	delete func(key K)
	fake   fakeStore[K, V]
}

// Get returns the value of a key, if there is one.
func (s *Store[K, V]) Get(key K) (V, bool) {
	if value := s.get(key); value != nil {
		return *value, true
	}
	var none V
	return none, false
}

// Put sets the value of a key.
func (s *Store[K, V]) Put(key K, value V) { s.put(key, value) }

// Delete removes a key, if it exists.
func (s *Store[K, V]) Delete(key K) { s.delete(key) }

// OrderedStore is a store with ordered keys. O is the type of an optional key, which may be nil.
type OrderedStore[K, O, V any] struct {
	Store[K, V]
	scan func(prefix K, after O, limit uint32) []pairs.Pair[K, V]
}

// Scan returns at most limit entries whose keys begin with prefix, in the order of the keys' bytes. With after, it
// returns only those with greater keys. They have at most 4 MiB together: a handler that asks for more fails.
func (s *OrderedStore[K, O, V]) Scan(prefix K, after O, limit uint32) []pairs.Pair[K, V] {
	return s.scan(prefix, after, limit)
}

// Table is a table of the component: a read-only view of a compacted topic.
type Table[K, V any] struct {
	get  func(key K) *V
	fake fakeTable[K, V]
}

// Get returns the newest value of a key, if there is one.
func (t *Table[K, V]) Get(key K) (V, bool) {
	if value := t.get(key); value != nil {
		return *value, true
	}
	var none V
	return none, false
}

// OrderedTable is a table with ordered keys. O is the type of an optional key, which may be nil.
type OrderedTable[K, O, V any] struct {
	Table[K, V]
	scan func(prefix K, after O, limit uint32) []pairs.Pair[K, V]
}

// Scan returns at most limit entries whose keys begin with prefix, in the order of the keys' bytes. With after, it
// returns only those with greater keys. They have at most 4 MiB together: a handler that asks for more fails.
func (t *OrderedTable[K, O, V]) Scan(prefix K, after O, limit uint32) []pairs.Pair[K, V] {
	return t.scan(prefix, after, limit)
}
