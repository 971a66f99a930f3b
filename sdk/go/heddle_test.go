//go:build !wasip1

package heddle

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"testing"

	"heddle/pairs"
)

func TestARejectionKeepsItsCauseAndIsFoundBelowOthers(t *testing.T) {
	wrapped := fmt.Errorf("order 7: %w", Rejected(io.EOF))
	var rejection *Rejection
	if !errors.As(wrapped, &rejection) || !errors.Is(wrapped, io.EOF) || rejection.Error() != "EOF" {
		t.Error(wrapped)
	}
	if errors.As(Failed(io.EOF), &rejection) || Rejectedf("%d items", 0).Error() != "0 items" {
		t.Error("a failure that may pass is not a rejection")
	}
}

func TestNumbersStayInRangeAndNoneIsLikelier(t *testing.T) {
	draw := func(start, end uint64, numbers ...uint64) uint64 {
		return within(start, end, func() uint64 {
			first := numbers[0]
			numbers = numbers[1:]
			return first
		})
	}
	const most = ^uint64(0)
	// 2^64 - 1 is a multiple of three, so all smaller numbers are used, and it is not.
	got := []uint64{draw(5, 8, 0), draw(5, 8, 5), draw(5, 8, most-1), draw(5, 8, most, 1), draw(0, most, most, 9), draw(7, 8, 12345)}
	if want := []uint64{5, 7, 7, 6, 9, 7}; !slices.Equal(got, want) {
		t.Error(got)
	}
}

func TestPairsOfAMapComeInOneOrder(t *testing.T) {
	all := map[string]int{"b": 2, "": 0, "a": 1, "ä": 3}
	var keys []string
	for _, pair := range pairs.FromMap(all) {
		keys = append(keys, pair.Key)
	}
	if !slices.Equal(keys, []string{"", "a", "b", "ä"}) || len(pairs.ToMap(pairs.FromMap(all))) != 4 {
		t.Error(keys)
	}
}

func TestFakesDoAsTheHostDoes(t *testing.T) {
	var emitter Emitter[string, string, *string]
	var store OrderedStore[string, *string, int]
	fakedEmitter(&emitter)
	fakedOrdered(&store, stringKey)
	t.Run("one test", func(t *testing.T) {
		host := NewTestHost(t)
		emitter.Send("a")
		emitter.SendWith("b", Ptr("key"), Header{Name: "h"})
		emitter.Delete("gone")
		Log.Warnf("%d", 1)
		if sent := emitter.Sent(); len(sent) != 3 || sent[0].Key != nil || *sent[1].Key != "key" || *sent[2].Key != "gone" || !sent[2].Deleted || host.Log[0] != "warn: 1" {
			t.Error(sent, host.Log)
		}
		for n, key := range []string{"b", "ab", "a"} {
			store.Put(key, n)
		}
		store.Delete("b")
		first := store.Scan("a", nil, 1)
		second := store.Scan("", Ptr("a"), 10)
		if _, ok := store.Get("b"); ok || first[0].Value != 2 || len(second) != 1 || second[0].Key != "ab" {
			t.Error(first, second)
		}
	})
	t.Run("another test", func(t *testing.T) {
		NewTestHost(t)
		if _, ok := store.Get("a"); ok || len(emitter.Sent()) != 0 {
			t.Error("it sees what the one before it left")
		}
	})
	defer func() {
		if recover() == nil {
			t.Error("without a host there is nothing to emit to")
		}
	}()
	emitter.Send("c")
}
