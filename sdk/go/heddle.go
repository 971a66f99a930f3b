// Package heddle is what a component in Go is written with.
//
// A component is a folder with a component.toml, a go.mod and a package main. `heddle build` writes this package to
// heddle, together with what the component's contract makes of it, and compiles the component:
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
// There are then:
//
//   - contracts: the types of the schemas. What may be null is a pointer, or a slice that may be nil; see [Ptr]. A union is an
//     interface, with a type for each of its branches. A map is a slice of pairs: see pairs.ToMap and pairs.FromMap.
//   - Component: the handlers, one for each topic that the manifest consumes; the compiler asks for all of them.
//   - Emit<Topic>, an [Emitter], for each topic that the manifest emits to.
//   - Store<Name>, a [Store] or [OrderedStore], for each store of the manifest.
//   - [Current]: the delivery: its id, attempt, topic, partition, offset, timestamp, key and headers.
//   - [Log]: lines for the host's log.
//   - [Random]: numbers that are the same whenever the same record is handled.
//   - [Rejected] and [Failed], and [Header].
//
// An error that a handler returns is a failure that may pass: it is tried again as the component's policy says. Where trying again
// cannot cure it, return [Rejected]. A panic is a failure, too: its message and place are told in the dead-letter record.
//
// The same record on the same state has to give the same effects, whenever it is handled again. time.Now is the record's timestamp,
// and waiting takes no time. But Go begins to go through a map anywhere, math/rand is seeded once and not for each record, and
// global variables and goroutines outlive a delivery: sort the keys of a map before you emit by them, take numbers from [Random], and
// keep in a store what has to be kept.
//
// `go test` runs handlers natively, with fakes in place of the host: see NewTestHost.
package heddle

import (
	"errors"
	"fmt"
)

// Rejection is a failure that trying again cannot cure: the record is set aside in the dead-letter topic at once.
type Rejection struct {
	why   string
	cause error
}

// Rejected makes a failure that trying again cannot cure, of an error or of a text.
func Rejected(why any) error {
	cause, _ := why.(error)
	return &Rejection{why: fmt.Sprint(why), cause: cause}
}

// Rejectedf is Rejected with a text as fmt.Errorf makes it.
func Rejectedf(format string, args ...any) error {
	return Rejected(fmt.Errorf(format, args...))
}

// Error is the reason.
func (r *Rejection) Error() string { return r.why }

// Unwrap is the error that the record was rejected for.
func (r *Rejection) Unwrap() error { return r.cause }

// Failed makes a failure that may pass, of an error or of a text. So does any other error that a handler returns.
func Failed(why any) error {
	if err, ok := why.(error); ok {
		return err
	}
	return errors.New(fmt.Sprint(why))
}

// Header is a header of a record. Names may repeat; a value may be null, which is nil.
type Header struct {
	Name  string
	Value []byte
}

// Delivery is one record on its way to a handler.
type Delivery struct {
	// ID is the same for every attempt: <app>.<component>/<topic>/<partition>/<offset>.
	ID string
	// Attempt is 1 for the first try.
	Attempt   uint32
	Topic     string
	Partition int32
	Offset    int64
	// Timestamp is in milliseconds since 1970-01-01T00:00:00Z: the only clock a handler has.
	Timestamp int64
	// Key is the record's key as it is in the log; nil if it has none.
	Key     []byte
	Headers []Header
}

// Ptr is a pointer to a value: what may be null is one.
func Ptr[T any](value T) *T { return &value }

// Emitter emits to one topic. V is the type of its values; K that of its keys, and O that of keys where nil is none.
type Emitter[V, K, O any] struct {
	send     func(value V)
	sendWith func(value V, key O, headers []Header)
	delete   func(key K)
	fake     fakeEmitter[V, O]
}

// Send emits a value under the key of the record that is being handled.
func (e *Emitter[V, K, O]) Send(value V) { e.send(value) }

// SendWith emits a value under a key of its own, if it is not nil, and with headers.
func (e *Emitter[V, K, O]) SendWith(value V, key O, headers ...Header) { e.sendWith(value, key, headers) }

// Delete emits a tombstone: a key without a value. In a compacted topic it deletes the key.
func (e *Emitter[V, K, O]) Delete(key K) { e.delete(key) }

// Log takes lines for the host's log. They are told when the handler is done: all of them if it succeeds; if it fails, those of
// Warnf and Errorf. The first 100 of a delivery are kept and the last one, of 8 KiB each. What is written to stdout and stderr goes
// there, too, as Infof and Warnf do.
var Log logger

type logger struct{}

func (logger) Tracef(format string, args ...any) { hostLog(0, fmt.Sprintf(format, args...)) }
func (logger) Debugf(format string, args ...any) { hostLog(1, fmt.Sprintf(format, args...)) }
func (logger) Infof(format string, args ...any)  { hostLog(2, fmt.Sprintf(format, args...)) }
func (logger) Warnf(format string, args ...any)  { hostLog(3, fmt.Sprintf(format, args...)) }
func (logger) Errorf(format string, args ...any) { hostLog(4, fmt.Sprintf(format, args...)) }

// Current is the delivery under way. There is none outside of a handler: asking ends the component.
func Current() Delivery { return hostCurrent() }

// Random has numbers that are the same whenever the same record is handled: seeded by component, topic, partition and offset, not
// by the attempt. Not for secrets.
var Random random

type random struct{}

// NextU64 is the next 64 bits.
func (random) NextU64() uint64 { return hostNextU64() }

// Bytes are the next n bytes, at most 65536 at a time.
func (random) Bytes(n uint32) []byte { return hostBytes(n) }

// Range is a number from start and below end, each as likely as any other. It panics if there is none.
func (random) Range(start, end uint64) uint64 { return within(start, end, hostNextU64) }

func within(start, end uint64, next func() uint64) uint64 {
	if start >= end {
		panic("there is no number in an empty range")
	}
	size := end - start
	// What is left above the last whole multiple would make the first numbers likelier: draw again.
	const most = ^uint64(0)
	whole := most - most%size
	for {
		if number := next(); number < whole {
			return start + number%size
		}
	}
}
