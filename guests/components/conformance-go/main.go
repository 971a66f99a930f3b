// Package main acts as its input says, and uses every feature of a component, like conformance-rust.
package main

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync"

	"conformance/heddle"
	"conformance/heddle/contracts"
)

func init() { heddle.Export(conformance{}) }
func main() {}

type conformance struct{}

func emit(did string, n int64, text string) {
	heddle.EmitProbeValuesOut.Send(contracts.Probed{Did: did, N: n, Text: text})
}

func emitConstructs(did string, constructs *contracts.Constructs) {
	heddle.EmitProbeValuesOut.Send(contracts.Probed{Did: did, Constructs: constructs})
}

// listed formats bytes as text in the same way as all languages: [0,255].
func listed(bytes []byte) string {
	numbers := make([]string, len(bytes))
	for place, each := range bytes {
		numbers[place] = strconv.Itoa(int(each))
	}
	return "[" + strings.Join(numbers, ",") + "]"
}

func optional(bytes []byte) string {
	if bytes == nil {
		return "none"
	}
	return listed(bytes)
}

// delivery formats all data of the delivery.
func delivery() string {
	it := heddle.Current()
	headers := make([]string, len(it.Headers))
	for place, header := range it.Headers {
		headers[place] = header.Name + "=" + optional(header.Value)
	}
	// The components have different names.
	_, place, _ := strings.Cut(it.ID, "/")
	return fmt.Sprint(place, " ", it.Attempt, " ", it.Topic, " ", it.Partition, " ", it.Offset, " ", it.Timestamp, " ",
		optional(it.Key), " ", strings.Join(headers, ";"))
}

func point(x int32) contracts.Point { return contracts.Point{X: x, Y: heddle.Ptr(0.5)} }

// stores runs an action on stores. It returns false for any other action.
func stores(probe contracts.Probe) bool {
	switch probe.Do {
	case "put":
		if probe.Constructs != nil {
			heddle.StoreThings.Put(probe.Text, *probe.Constructs)
		}
	case "get":
		if constructs, ok := heddle.StoreThings.Get(probe.Text); ok {
			emitConstructs("get", &constructs)
		} else {
			emitConstructs("get", nil)
		}
	case "delete":
		heddle.StoreThings.Delete(probe.Text)
		if _, ok := heddle.StoreThings.Get(probe.Text); !ok {
			emitConstructs("deleted", nil)
		}
	case "scan":
		for _, found := range heddle.StoreThings.Scan(probe.Text, probe.After, uint32(probe.N)) {
			emit("scan", found.Value.Long, found.Key)
		}
	case "raw-keys":
		heddle.StoreRaw.Put([]byte{0, 255}, point(probe.N))
		heddle.StoreRaw.Put([]byte{0}, point(1))
		heddle.StoreRaw.Put([]byte{1}, point(2))
		heddle.StoreRaw.Delete([]byte{1})
		for _, found := range heddle.StoreRaw.Scan([]byte{0}, nil, 10) {
			emit("raw-keys", int64(found.Value.X), listed(found.Key))
		}
		deleted := int64(-1)
		if found, ok := heddle.StoreRaw.Get([]byte{1}); ok {
			deleted = int64(found.X)
		}
		emit("raw-keys", deleted, "")
	case "typed-keys":
		key := point(probe.N)
		before, _ := heddle.StoreTyped.Get(key)
		heddle.StoreTyped.Put(key, point(before.X+1))
		emit("typed-keys", int64(before.X), "")
		heddle.StoreTyped.Delete(contracts.Point{X: key.X})
	default:
		return false
	}
	return true
}

// tables does what is looked up in tables; false if it is something else.
func tables(probe contracts.Probe) bool {
	switch probe.Do {
	case "fact":
		fact, ok := heddle.TableFacts.Get(probe.Text)
		switch {
		case !ok:
			emit("fact", -1, "")
		case fact.Note == nil:
			emit("fact", fact.N, "")
		default:
			emit("fact", fact.N, *fact.Note)
		}
	case "facts":
		for _, found := range heddle.TableFacts.Scan(probe.Text, probe.After, uint32(probe.N)) {
			emit("facts", found.Value.N, found.Key)
		}
	case "named":
		if bytes, ok := heddle.TableNamed.Get(point(probe.N)); ok {
			emit("named", int64(len(bytes)), listed(bytes))
		} else {
			emit("named", -1, "")
		}
	default:
		return false
	}
	return true
}

var (
	kept       [][]byte
	remembered []string
)

// lasting runs an action that tests Go's memory only. It returns false for any other action.
func lasting(probe contracts.Probe) bool {
	switch probe.Do {
	case "remember":
		// A string of an earlier delivery stays the same, however many records follow.
		remembered = append(remembered, probe.Text)
		emit("remember", int64(len(remembered)), strings.Join(remembered, " "))
	case "goroutines":
		// Goroutines run during the calls of others, whenever the collector starts.
		found := make([]string, probe.N)
		var all sync.WaitGroup
		for place := range found {
			all.Add(1)
			go func() {
				defer all.Done()
				constructs, _ := heddle.StoreThings.Get(probe.Text)
				found[place] = constructs.String + heddle.Current().ID
			}()
		}
		all.Wait()
		slices.Sort(found)
		emit("goroutines", int64(len(found)), strings.Join(slices.Compact(found), " "))
	default:
		return false
	}
	return true
}

// failures runs an action that fails. It returns false for any other action.
func failures(probe contracts.Probe) (bool, error) {
	switch probe.Do {
	case "reject":
		emit("reject", 0, "")
		heddle.StoreRaw.Put([]byte{9}, point(9))
		heddle.Log.Infof("not written")
		heddle.Log.Warnf("about to reject")
		return true, heddle.Rejected(probe.Text)
	case "fail":
		return true, errors.New(probe.Text)
	case "fail-once":
		if heddle.Current().Attempt < 2 {
			return true, heddle.Failed(probe.Text)
		}
		emit("fail-once", int64(heddle.Current().Attempt), "")
	case "trap":
		emit("trap", 0, "")
		panic("as asked")
	case "loop":
		for {
		}
	case "grow":
		for {
			kept = append(kept, slices.Repeat([]byte{1}, 1<<20))
		}
	case "emit-wrong":
		wrong := constructs()
		wrong.Price = "1.234"
		emitConstructs("emit-wrong", &wrong)
	case "put-wrong":
		wrong := constructs()
		wrong.Four = []byte{1}
		heddle.StoreThings.Put("wrong", wrong)
	default:
		return false, nil
	}
	return true, nil
}

func (conformance) OnProbeValues(probe contracts.Probe) error {
	if stores(probe) || tables(probe) || lasting(probe) {
		return nil
	}
	if done, err := failures(probe); done {
		return err
	}
	switch probe.Do {
	case "echo":
		emitConstructs("echo", probe.Constructs)
	case "make":
		emitConstructs("make", heddle.Ptr(constructs()))
	case "choices":
		for _, choice := range choices() {
			made := constructs()
			made.Choice = choice
			emitConstructs("choices", &made)
		}
	case "many":
		for n := range probe.N {
			emit("many", int64(n), "")
		}
	case "key-and-headers":
		probed := contracts.Probed{Did: "key-and-headers", N: math.MinInt64, Text: probe.Text}
		heddle.EmitProbeValuesOut.SendWith(probed, heddle.Ptr("own kéy"),
			heddle.Header{Name: "a", Value: []byte("1")}, heddle.Header{Name: "a"},
			heddle.Header{Name: "ü", Value: []byte{}}, heddle.Header{Name: "b", Value: []byte{0, 255}})
		heddle.EmitProbeValuesOut.SendWith(probed, nil)
	case "context":
		emit("context", 0, delivery())
	case "random":
		number, bytes := heddle.Random.NextU64(), heddle.Random.Bytes(5)
		emit("random", 0, fmt.Sprintf("%d %s [%d,%d,%d]", number, listed(bytes),
			heddle.Random.Range(0, 10), heddle.Random.Range(5, 6), heddle.Random.Range(0, math.MaxUint64)))
	case "log":
		heddle.Log.Tracef("a trace")
		heddle.Log.Debugf("a debug line")
		heddle.Log.Infof("%d lines", 5)
		heddle.Log.Warnf("a warning")
		heddle.Log.Errorf("an error")
	default:
		return heddle.Rejectedf("there is nothing to do for %s", probe.Do)
	}
	return nil
}

func (conformance) OnProbeKeyed(event []byte, key *contracts.Point) error {
	if key == nil {
		return heddle.Rejected("there is no key")
	}
	if event == nil {
		heddle.EmitProbeKeyedOut.Delete(*key)
		heddle.EmitProbeValuesOut.Delete("own kéy")
		heddle.EmitProbeRawOut.Delete([]byte{0, 255})
		return nil
	}
	next := contracts.Point{X: key.X + 1}
	if key.Y != nil {
		next.Y = heddle.Ptr(*key.Y * 2)
	}
	heddle.EmitProbeKeyedOut.Send(event)
	heddle.EmitProbeKeyedOut.SendWith(event, &next)
	return nil
}

func (conformance) OnProbeRaw(event []byte) error {
	slices.Reverse(event)
	heddle.EmitProbeRawOut.Send(event)
	heddle.EmitProbeRawOut.SendWith(event, []byte{0, 255})
	return nil
}
