// Package heddle is the SDK for components in Go.
//
// A component is a folder with a component.toml, a go.mod and a package main. `heddle build` writes this package and
// the code generated from the component's contract to heddle, and compiles the component:
//
//	package main
//
//	import (
//		"intake/heddle"
//		"intake/heddle/contracts"
//	)
//
//	func init() { heddle.Export(intake{}) }
//	func main() {}
//
//	type intake struct{}
//
//	func (intake) OnOrdersCreated(order contracts.OrderCreated) error {
//		if len(order.Items) == 0 {
//			return heddle.Rejected("the order has no items")
//		}
//		heddle.Log.Infof("an order of customer %s", order.CustomerID)
//		heddle.EmitOrdersAccepted.Send(contracts.OrderAccepted{OrderID: order.OrderID})
//		return nil
//	}
//
// The package has:
//
//   - contracts: the types of the schemas. A nullable value is a pointer, or a slice that may be nil; see [Ptr]. A
//     union is an interface, with a type for each of its branches. A map is a slice of pairs: see pairs.ToMap and
//     pairs.FromMap.
//   - Component: the handlers, one for each topic that the manifest consumes; the compiler requires all of them.
//   - Emit<Topic>, an [Emitter], for each topic that the manifest emits to.
//   - Store<Name>, a [Store] or [OrderedStore], for each store of the manifest.
//   - [Current]: the delivery, with its id, attempt, topic, partition, offset, timestamp, key and headers.
//   - [Log]: lines for the host's log.
//   - [Random]: numbers that are the same in every delivery of the same record.
//   - [Rejected] and [Failed], and [Header].
//
// An error that a handler returns is a failure that may pass: the record is tried again by the component's failure
// policy. Return [Rejected] if another attempt cannot help. A panic is a failure, too: the dead letter has its message
// and place.
//
// The same record with the same state must have the same effects whenever it is handled again. time.Now is the record's
// timestamp, and waiting takes no time. But Go iterates over maps in random order, math/rand is not seeded for each
// record, and global variables and goroutines outlive a delivery. Sort the keys of a map before you emit by them, take
// numbers from [Random], and keep data in a store.
//
// `go test` runs handlers natively, with fakes in place of the host: see NewTestHost.
package heddle

import (
	"errors"
	"fmt"
)

// Rejection is a failure that another attempt cannot fix: the record is dead-lettered at once.
type Rejection struct {
	why   string
	cause error
}

// Rejected makes a failure that another attempt cannot fix, from an error or a text.
func Rejected(why any) error {
	cause, _ := why.(error)
	return &Rejection{why: fmt.Sprint(why), cause: cause}
}

// Rejectedf is Rejected with a text that is formatted as by fmt.Errorf.
func Rejectedf(format string, args ...any) error {
	return Rejected(fmt.Errorf(format, args...))
}

// Error returns the reason.
func (r *Rejection) Error() string { return r.why }

// Unwrap returns the error for which the record was rejected.
func (r *Rejection) Unwrap() error { return r.cause }

// Failed makes a failure that may pass, from an error or a text. Any other error that a handler returns is one, too.
func Failed(why any) error {
	if err, ok := why.(error); ok {
		return err
	}
	return errors.New(fmt.Sprint(why))
}

// Header is a header of a record. Names may repeat; a null value is nil.
type Header struct {
	Name  string
	Value []byte
}

// Delivery is one record that is passed to a handler.
type Delivery struct {
	// ID is the same for every attempt: <app>.<component>/<topic>/<partition>/<offset>.
	ID string
	// Attempt is 1 in the first attempt.
	Attempt   uint32
	Topic     string
	Partition int32
	Offset    int64
	// Timestamp is in milliseconds since 1970-01-01T00:00:00Z. It is the only clock of a handler.
	Timestamp int64
	// Key is the record's key in the log; nil if it has none.
	Key     []byte
	Headers []Header
}

// Ptr returns a pointer to a value, for nullable values.
func Ptr[T any](value T) *T { return &value }

// Emitter emits to one topic. V is the type of its values, K that of its keys, and O that of optional keys.
type Emitter[V, K, O any] struct {
	send     func(value V)
	sendWith func(value V, key O, headers []Header)
	delete   func(key K)
	fake     fakeEmitter[V, O]
}

// Send emits a value under the key of the record that is being handled.
func (e *Emitter[V, K, O]) Send(value V) { e.send(value) }

// SendWith emits a value with headers, under the given key. With a nil key, it uses the key of the record that is being
// handled.
func (e *Emitter[V, K, O]) SendWith(value V, key O, headers ...Header) { e.sendWith(value, key, headers) }

// Delete emits a tombstone: a key without a value. In a compacted topic it deletes the key.
func (e *Emitter[V, K, O]) Delete(key K) { e.delete(key) }

// Log writes lines to the host's log when the handler has ended: all lines if it succeeds, those of Warnf and Errorf if
// it fails. The first 100 lines of a delivery and its last line are kept, of 8 KiB each. Text that is written to stdout
// and stderr goes there, too, as with Infof and Warnf.
var Log logger

type logger struct{}

func (logger) Tracef(format string, args ...any) { hostLog(0, fmt.Sprintf(format, args...)) }
func (logger) Debugf(format string, args ...any) { hostLog(1, fmt.Sprintf(format, args...)) }
func (logger) Infof(format string, args ...any)  { hostLog(2, fmt.Sprintf(format, args...)) }
func (logger) Warnf(format string, args ...any)  { hostLog(3, fmt.Sprintf(format, args...)) }
func (logger) Errorf(format string, args ...any) { hostLog(4, fmt.Sprintf(format, args...)) }

// Current returns the current delivery. Outside of a handler, it ends the component.
func Current() Delivery { return hostCurrent() }

// Random has numbers that are the same in every delivery of the same record. Their seed is the component, topic,
// partition and offset, not the attempt. They are not for secrets.
var Random random

type random struct{}

// NextU64 returns the next 64 bits.
func (random) NextU64() uint64 { return hostNextU64() }

// Bytes returns the next n bytes, at most 65536 at a time.
func (random) Bytes(n uint32) []byte { return hostBytes(n) }

// Range returns a uniformly distributed number from start to below end. It panics if the range is empty.
func (random) Range(start, end uint64) uint64 { return within(start, end, hostNextU64) }

func within(start, end uint64, next func() uint64) uint64 {
	if start >= end {
		panic("there is no number in an empty range")
	}
	size := end - start
	// Numbers above the last whole multiple would make the first ones more likely, so they are drawn again.
	const most = ^uint64(0)
	whole := most - most%size
	for {
		if number := next(); number < whole {
			return start + number%size
		}
	}
}
