package heddle

import "heddle/pairs"

// Store is one store of the component. A handler sees what it wrote, and what handlers of the same partition wrote before it. What
// it writes is kept only if it succeeds.
type Store[K, V any] struct {
	get    func(key K) *V
	put    func(key K, value V)
	delete func(key K)
	fake   fakeStore[K, V]
}

// Get is the value of a key, if there is one.
func (s *Store[K, V]) Get(key K) (V, bool) {
	if value := s.get(key); value != nil {
		return *value, true
	}
	var none V
	return none, false
}

// Put sets the value of a key.
func (s *Store[K, V]) Put(key K, value V) { s.put(key, value) }

// Delete removes a key, if it is there.
func (s *Store[K, V]) Delete(key K) { s.delete(key) }

// OrderedStore is a store whose keys have an order. O is an optional key: nil is none.
type OrderedStore[K, O, V any] struct {
	Store[K, V]
	scan func(prefix K, after O, limit uint32) []pairs.Pair[K, V]
}

// Scan is the entries whose keys begin with prefix, in the order of the keys' bytes, at most limit; with after, only those whose keys
// are greater. At most 4 MiB together: a handler that asks for more fails.
func (s *OrderedStore[K, O, V]) Scan(prefix K, after O, limit uint32) []pairs.Pair[K, V] {
	return s.scan(prefix, after, limit)
}
