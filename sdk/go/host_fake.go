//go:build !wasip1

package heddle

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"

	"heddle/pairs"
)

// TestHost replaces the host in tests. There is one at a time: see [NewTestHost].
type TestHost struct {
	// Delivery is the result of [Current].
	Delivery Delivery
	// Log has the logged lines, such as "info: the message".
	Log    []string
	random *rand.ChaCha8
}

var (
	host *TestHost
	// resets clear the fakes of emitters, stores and tables.
	resets []func()
)

// NewTestHost installs a new host with empty stores and tables until the test ends; t is a *testing.T.
//
//	func TestAnEmptyOrderIsRejected(t *testing.T) {
//		heddle.NewTestHost(t)
//		err := intake{}.OnOrdersCreated(contracts.OrderCreated{OrderID: "1"})
//		if err == nil || len(heddle.EmitOrdersAccepted.Sent()) != 0 {
//			t.Error(err)
//		}
//	}
func NewTestHost(t interface{ Cleanup(func()) }) *TestHost {
	reset()
	host = &TestHost{
		Delivery: Delivery{ID: "app.component/topic/0/0", Attempt: 1, Topic: "topic"},
		random:   rand.NewChaCha8([32]byte{}),
	}
	t.Cleanup(func() {
		reset()
		host = nil
	})
	return host
}

func reset() {
	for _, each := range resets {
		each()
	}
}

func there() *TestHost {
	if host == nil {
		panic("there is no host: begin the test with heddle.NewTestHost(t)")
	}
	return host
}

func hostLog(level int32, message string) {
	name := [...]string{"trace", "debug", "info", "warn", "error"}[level]
	there().Log = append(there().Log, name+": "+message)
}

func hostCurrent() Delivery { return there().Delivery }

func hostNextU64() uint64 { return there().random.Uint64() }

func hostBytes(n uint32) []byte {
	bytes := make([]byte, n)
	_, _ = there().random.Read(bytes)
	return bytes
}

// Sent is a record that a handler emitted in a test.
type Sent[V, O any] struct {
	Value   V
	Key     O
	Headers []Header
	// Deleted is true for a tombstone, which has no value.
	Deleted bool
}

type fakeEmitter[V, O any] struct{ sent []Sent[V, O] }

// Sent returns the records emitted since the test began. It exists in tests only.
func (e *Emitter[V, K, O]) Sent() []Sent[V, O] { return e.fake.sent }

func fakedEmitter[V, K, O any](e *Emitter[V, K, O]) {
	e.sendWith = func(value V, key O, headers []Header) {
		there()
		e.fake.sent = append(e.fake.sent, Sent[V, O]{Value: value, Key: key, Headers: headers})
	}
	e.send = func(value V) {
		var none O
		e.sendWith(value, none, nil)
	}
	e.delete = func(key K) {
		there()
		e.fake.sent = append(e.fake.sent, Sent[V, O]{Key: optional[K, O](key), Deleted: true})
	}
	resets = append(resets, func() { e.fake.sent = nil })
}

// optional returns a given key as an optional one: a list itself, or a pointer to any other key.
func optional[K, O any](key K) O {
	var some O
	switch some := any(&some).(type) {
	case *K:
		*some = key
	case **K:
		*some = &key
	}
	return some
}

type fakeStore[K, V any] struct {
	entries map[string]pairs.Pair[K, V]
}

// keyText returns the fakes' form of a key: its bytes, or a text that identifies a typed key.
func keyText[K any](key K) string {
	switch key := any(key).(type) {
	case string:
		return key
	case []byte:
		return string(key)
	}
	text, err := json.Marshal(key)
	if err != nil {
		panic(fmt.Sprintf("a key that has no text: %v", err))
	}
	return string(text)
}

func fakedStore[K, V any](s *Store[K, V]) {
	clear := func() { s.fake.entries = map[string]pairs.Pair[K, V]{} }
	clear()
	resets = append(resets, clear)
	s.get = func(key K) *V {
		there()
		if entry, ok := s.fake.entries[keyText(key)]; ok {
			return &entry.Value
		}
		return nil
	}
	s.put = func(key K, value V) {
		there()
		s.fake.entries[keyText(key)] = pairs.Pair[K, V]{Key: key, Value: value}
	}
	s.delete = func(key K) {
		there()
		delete(s.fake.entries, keyText(key))
	}
}

// fakedOrdered makes a fake of an ordered store; text returns the bytes of an optional key, if there is one.
func fakedOrdered[K, O, V any](s *OrderedStore[K, O, V], text func(O) (string, bool)) {
	fakedStore(&s.Store)
	s.scan = func(prefix K, after O, limit uint32) []pairs.Pair[K, V] {
		return scanned(s.fake.entries, prefix, after, limit, text)
	}
}

type fakeTable[K, V any] struct {
	entries map[string]pairs.Pair[K, V]
}

// Fill sets an entry of the table, as a record of its topic does. It exists in tests only.
func (t *Table[K, V]) Fill(key K, value V) {
	there()
	t.fake.entries[keyText(key)] = pairs.Pair[K, V]{Key: key, Value: value}
}

// Unfill deletes an entry of the table, as a tombstone does. It exists in tests only.
func (t *Table[K, V]) Unfill(key K) {
	there()
	delete(t.fake.entries, keyText(key))
}

func fakedTable[K, V any](t *Table[K, V]) {
	clear := func() { t.fake.entries = map[string]pairs.Pair[K, V]{} }
	clear()
	resets = append(resets, clear)
	t.get = func(key K) *V {
		there()
		if entry, ok := t.fake.entries[keyText(key)]; ok {
			return &entry.Value
		}
		return nil
	}
}

// fakedOrderedTable makes a fake of a table with an order.
func fakedOrderedTable[K, O, V any](t *OrderedTable[K, O, V], text func(O) (string, bool)) {
	fakedTable(&t.Table)
	t.scan = func(prefix K, after O, limit uint32) []pairs.Pair[K, V] {
		return scanned(t.fake.entries, prefix, after, limit, text)
	}
}

func scanned[K, O, V any](entries map[string]pairs.Pair[K, V], prefix K, after O, limit uint32, text func(O) (string, bool)) []pairs.Pair[K, V] {
	there()
	least, some := text(after)
	keys := []string{}
	for key := range entries {
		if strings.HasPrefix(key, keyText(prefix)) && (!some || key > least) {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	found := []pairs.Pair[K, V]{}
	for _, key := range keys[:min(len(keys), int(limit))] {
		found = append(found, entries[key])
	}
	return found
}

func stringKey(key *string) (string, bool) {
	if key == nil {
		return "", false
	}
	return *key, true
}

func bytesKey(key []byte) (string, bool) { return string(key), key != nil }
