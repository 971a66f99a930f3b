//go:build wasip1

package heddle

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"unsafe"
)

// The host's side of this package's functions, by the component model's canonical ABI.

type fakeEmitter[V, O any] struct{}

type fakeStore[K, V any] struct{}

type fakeTable[K, V any] struct{}

//go:wasmimport heddle:runtime/log@0.1.0 write
func importLog(level int32, message unsafe.Pointer, length int32)

//go:wasmimport heddle:runtime/random@0.1.0 next-u64
func importNextU64() uint64

//go:wasmimport heddle:runtime/random@0.1.0 bytes
func importBytes(length uint32, result unsafe.Pointer)

//go:wasmimport heddle:runtime/context@0.1.0 current
func importCurrent(result unsafe.Pointer)

func hostLog(level int32, message string) {
	// A message that is not UTF-8 would end the component.
	message = strings.ToValidUTF8(message, "\ufffd")
	importLog(level, unsafe.Pointer(unsafe.StringData(message)), int32(len(message)))
}

func hostNextU64() uint64 { return importNextU64() }

func hostBytes(n uint32) []byte {
	enter()
	defer leave()
	result := allocate(8)
	importBytes(n, result)
	return loadBytes(result)
}

func hostCurrent() Delivery {
	enter()
	defer leave()
	result := allocate(64)
	importCurrent(result)
	delivery := Delivery{
		ID:        loadString(result),
		Attempt:   peek[uint32](unsafe.Add(result, 8)),
		Topic:     loadString(unsafe.Add(result, 12)),
		Partition: peek[int32](unsafe.Add(result, 20)),
		Offset:    peek[int64](unsafe.Add(result, 24)),
		Timestamp: peek[int64](unsafe.Add(result, 32)),
		Headers: loadList(unsafe.Add(result, 52), 20, func(at unsafe.Pointer) Header {
			header := Header{Name: loadString(at)}
			if peek[uint8](unsafe.Add(at, 8)) != 0 {
				header.Value = loadBytes(unsafe.Add(at, 12))
			}
			return header
		}),
	}
	if peek[uint8](unsafe.Add(result, 40)) != 0 {
		delivery.Key = loadBytes(unsafe.Add(result, 44))
	}
	return delivery
}

func settle(err error) unsafe.Pointer {
	result := (*[4]uint32)(answer)
	*result = [4]uint32{}
	if err != nil {
		var rejection *Rejection
		result[0] = 1
		if !errors.As(err, &rejection) {
			result[1] = 1
		}
		told = strings.ToValidUTF8(err.Error(), "\ufffd")
		result[2] = address(unsafe.Pointer(unsafe.StringData(told)))
		result[3] = uint32(len(told))
	}
	return answer
}

var (
	// answer is the result of a handler, where the host reads it: result<_, failure>.
	answer = unsafe.Pointer(new([4]uint32))
	// The text of the failure is kept until the next delivery.
	told string
)

// handled calls a handler whose arguments were lifted. A panic is logged before it ends the component.
func handled(handle func() error) unsafe.Pointer {
	leave()
	defer func() {
		if cause := recover(); cause != nil {
			Log.Errorf("panicked at %s: %v", panickedAt(), cause)
			os.Exit(2)
		}
	}()
	return settle(handle())
}

// panickedAt returns the innermost place of a panic outside of Go's runtime.
func panickedAt() string {
	var places [32]uintptr
	frames := runtime.CallersFrames(places[:runtime.Callers(3, places[:])])
	for {
		frame, more := frames.Next()
		if frame.File != "" && !strings.HasPrefix(frame.Function, "runtime.") {
			return fmt.Sprintf("%s:%d", frame.File, frame.Line)
		}
		if !more {
			return "an unknown place"
		}
	}
}

// present turns a list that may be nil into a pointer.
func present[K, T any](get func(K) []T) func(K) *[]T {
	return func(key K) *[]T {
		if list := get(key); list != nil {
			return &list
		}
		return nil
	}
}

func peek[T any](at unsafe.Pointer) T { return *(*T)(at) }

func poke[T any](at unsafe.Pointer, value T) { *(*T)(at) = value }

func pointer(number uint32) unsafe.Pointer { return unsafe.Pointer(uintptr(number)) }

func liftString(at, length uint32) string {
	return strings.Clone(unsafe.String((*byte)(pointer(at)), length))
}

func liftBytes(at, length uint32) []byte {
	lifted := make([]byte, length)
	copy(lifted, unsafe.Slice((*byte)(pointer(at)), length))
	return lifted
}

func liftList[T any](at, length uint32, size uintptr, load func(unsafe.Pointer) T) []T {
	list := make([]T, length)
	for place := range list {
		list[place] = load(pointer(at + uint32(place)*uint32(size)))
	}
	return list
}

func loadString(at unsafe.Pointer) string {
	return liftString(peek[uint32](at), peek[uint32](unsafe.Add(at, 4)))
}

func loadBytes(at unsafe.Pointer) []byte {
	return liftBytes(peek[uint32](at), peek[uint32](unsafe.Add(at, 4)))
}

func loadList[T any](at unsafe.Pointer, size uintptr, load func(unsafe.Pointer) T) []T {
	return liftList(peek[uint32](at), peek[uint32](unsafe.Add(at, 4)), size, load)
}

func lowerString(value string) (at, length uint32) {
	// Go's strings may not be UTF-8; those of a contract have to be.
	value = strings.ToValidUTF8(value, "\ufffd")
	return address(hold(unsafe.Pointer(unsafe.StringData(value)))), uint32(len(value))
}

func lowerBytes(value []byte) (at, length uint32) {
	return address(hold(unsafe.Pointer(unsafe.SliceData(value)))), uint32(len(value))
}

func lowerList[T any](list []T, size uintptr, store func(unsafe.Pointer, T)) (at, length uint32) {
	block := allocate(size * uintptr(len(list)))
	for place, value := range list {
		store(unsafe.Add(block, uintptr(place)*size), value)
	}
	return address(block), uint32(len(list))
}

func storeString(at unsafe.Pointer, value string) {
	start, length := lowerString(value)
	poke(at, [2]uint32{start, length})
}

func storeBytes(at unsafe.Pointer, value []byte) {
	start, length := lowerBytes(value)
	poke(at, [2]uint32{start, length})
}

func storeList[T any](at unsafe.Pointer, list []T, size uintptr, store func(unsafe.Pointer, T)) {
	start, length := lowerList(list, size, store)
	poke(at, [2]uint32{start, length})
}
