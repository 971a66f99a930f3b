package main

import (
	"reflect"
	"testing"

	"conformance/heddle"
	"conformance/heddle/contracts"
)

func TestATableHasWhatATestHasFilledItWith(t *testing.T) {
	heddle.NewTestHost(t)
	heddle.TableFacts.Fill("b", contracts.Fact{N: 2, Note: heddle.Ptr("two")})
	heddle.TableFacts.Fill("a", contracts.Fact{N: 1})
	heddle.TableFacts.Fill("c", contracts.Fact{N: 3})
	heddle.TableFacts.Unfill("c")
	heddle.TableNamed.Fill(point(7), []byte{0, 255})
	probes := []contracts.Probe{
		{Do: "fact", Text: "b"}, {Do: "fact", Text: "c"}, {Do: "facts", N: 10}, {Do: "named", N: 7}, {Do: "named", N: 8},
	}
	for _, probe := range probes {
		if err := (conformance{}).OnProbeValues(probe); err != nil {
			t.Fatal(err)
		}
	}
	type result struct {
		text string
		n    int64
	}
	found := []result{}
	for _, sent := range heddle.EmitProbeValuesOut.Sent() {
		found = append(found, result{sent.Value.Text, sent.Value.N})
	}
	if want := []result{{"two", 2}, {"", -1}, {"a", 1}, {"b", 2}, {"[0,255]", 2}, {"", -1}}; !reflect.DeepEqual(found, want) {
		t.Error(found)
	}
}
