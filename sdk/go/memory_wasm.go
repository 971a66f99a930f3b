//go:build wasip1

package heddle

import "unsafe"

// Memory for the values that the host writes: a handler's arguments, and the results of the host's functions.
//
// The host requests it with cabi_realloc. Until that returns, the component model forbids every call of an import. Go's
// runtime calls imports at any moment: its collector and its scheduler read the clock. So cabi_realloc never enters
// Go's runtime: it has no stack check, allocates nothing, uses memory outside of Go's heap, and grows the Wasm memory
// itself.
//
//	firstChunk            chunk                           the last chunk
//	├ header, values ────>├ header, values, free ────────>├ header, free ───┤
//
// Lifting copies every value to Go's heap. When no call is in progress, all chunks are free again. A chunk is never
// returned. A new one is at least as large as all earlier ones, so all together have at most about four times the size
// that one call needed.

// The header of a chunk: the address of the next chunk or zero, and the address of its own end.
type chunkHeader struct{ next, end uintptr }

const (
	headerSize = unsafe.Sizeof(chunkHeader{})
	pageSize   = 64 << 10
)

// Addresses are numbers, because storing a pointer could run code of the collector.
var (
	firstChunk, chunk, free uintptr
	// reserved is the size of all chunks.
	reserved uintptr
	// calls counts the calls between host and component whose values are being passed. Goroutines can switch during a
	// call.
	calls int
	// started is false while the WASI adapter requests the memory that it keeps forever.
	started bool
)

func init() { started = true }

// Go's runtime owns all memory from bloc on. Moving bloc is what its sbrk does, after a stack check.
//
//go:linkname bloc runtime.bloc
var bloc uintptr

//go:linkname blocMax runtime.blocMax
var blocMax uintptr

//go:linkname growMemory runtime.growMemory
func growMemory(pages int32) int32

//go:linkname abort runtime.abort
func abort()

//go:nosplit
//go:wasmexport cabi_realloc
func cabiRealloc(old unsafe.Pointer, oldSize, align, size uintptr) unsafe.Pointer {
	if old != nil || oldSize != 0 {
		// The host knows the size of a value before it asks, so it never enlarges one.
		abort()
	}
	if !started {
		start := bloc
		if !grow(size) {
			abort()
		}
		return unsafe.Pointer(start)
	}
	for {
		if chunk != 0 {
			start := (free + align - 1) &^ (align - 1)
			if start+size <= header(chunk).end {
				free = start + size
				return unsafe.Pointer(start)
			}
		}
		makeRoom(headerSize + align - 1 + size)
	}
}

// makeRoom enlarges the current chunk if it is the last memory, or moves to the next chunk. It creates one of at least
// this size if there is none.
//
//go:nosplit
func makeRoom(size uintptr) {
	if chunk != 0 && header(chunk).end == bloc && grow(size) {
		reserved += bloc - header(chunk).end
		header(chunk).end = bloc
		return
	}
	var next uintptr
	if chunk != 0 {
		next = header(chunk).next
	}
	if next == 0 {
		next = newChunk(size)
		if chunk == 0 {
			firstChunk = next
		} else {
			header(chunk).next = next
		}
	}
	chunk, free = next, next+headerSize
}

//go:nosplit
func newChunk(size uintptr) uintptr {
	start := bloc
	if !grow(max(size, reserved)) && !grow(size) {
		abort()
	}
	*header(start) = chunkHeader{end: bloc}
	reserved += bloc - start
	return start
}

// grow takes whole pages from Go's runtime, at bloc. It returns false if the host grants no more memory.
//
//go:nosplit
func grow(size uintptr) bool {
	end := (bloc + size + pageSize - 1) &^ (pageSize - 1)
	if end > blocMax {
		if growMemory(int32((end-blocMax)/pageSize)) < 0 {
			return false
		}
		blocMax = end
	}
	bloc = end
	return true
}

//go:nosplit
func header(chunk uintptr) *chunkHeader { return (*chunkHeader)(unsafe.Pointer(chunk)) }

// enter begins a call: of a handler, until its arguments are lifted, or of one of the host's functions.
func enter() { calls++ }

// leave ends a call: its arguments and results have been copied to Go's heap or read by the host.
func leave() {
	calls--
	if calls > 0 {
		return
	}
	clear(held)
	held = held[:0]
	chunk, free = firstChunk, firstChunk+headerSize
}

// held keeps outgoing values alive, whose addresses the host knows only as numbers. Go's heap does not move. Stacks do,
// but no held value is on one.
var held []unsafe.Pointer

func hold(pointer unsafe.Pointer) unsafe.Pointer {
	held = append(held, pointer)
	return pointer
}

func address(pointer unsafe.Pointer) uint32 { return uint32(uintptr(pointer)) }

// allocate returns memory of Go's heap, aligned for every type, that is held until the call ends.
func allocate(size uintptr) unsafe.Pointer {
	if size == 0 {
		size = 1
	}
	return hold(unsafe.Pointer(unsafe.SliceData(make([]uint64, (size+7)/8))))
}
