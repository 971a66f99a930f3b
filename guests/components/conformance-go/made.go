package main

import (
	"math"

	"conformance/heddle"
	"conformance/heddle/contracts"
	"conformance/heddle/pairs"
)

// constructs is a value that the component makes: the limits of every range, and text beyond ASCII.
func constructs() contracts.Constructs {
	bytes := make([]byte, 256)
	for place := range bytes {
		bytes[place] = byte(place)
	}
	return contracts.Constructs{
		Flag:        true,
		Int:         math.MinInt32,
		Long:        math.MaxInt64,
		Float:       0.1,
		Double:      math.Copysign(0, -1),
		String:      "grüße, 世界 🧵\x00\n",
		UUID:        "0f8fad5b-d9cb-469f-a165-70867728950e",
		Bytes:       bytes,
		Four:        []byte{0, 127, 128, 255},
		Day:         -719_162,
		TimeMillis:  86_399_999,
		TimeMicros:  86_399_999_999,
		AtMillis:    -1,
		AtMicros:    1_700_000_000_000_001,
		LocalMillis: 9_007_199_254_740_993,
		Price:       "-1234567890123456789012345678.90",
		Rate:        "0.000001",
		Class:       "first",
		Type:        contracts.KindInTransit,
		Point:       contracts.Point{X: -1, Y: heddle.Ptr(math.MaxFloat64)},
		Longs:       []int64{math.MinInt64, -1, 0, 9_007_199_254_740_993},
		Points:      []contracts.Point{{X: 1}, {X: 2, Y: heddle.Ptr(0.1)}},
		Rows:        [][]*string{{}, {nil, heddle.Ptr("")}, {heddle.Ptr("a")}},
		Map:         []pairs.Pair[string, float64]{{Key: "", Value: 1.5}, {Key: "ö", Value: math.Inf(1)}},
		Kinds: []pairs.Pair[string, *contracts.Kind]{
			{Key: "a"}, {Key: "b", Value: heddle.Ptr(contracts.KindDefault)}, {Key: "c", Value: heddle.Ptr(contracts.KindRed2)},
		},
		Maybe:   heddle.Ptr(""),
		Perhaps: &contracts.Point{X: math.MaxInt32},
		Flags:   []bool{true, false},
		Choice:  contracts.ConstructsChoiceNull{},
	}
}

// choices has one of each branch.
func choices() []contracts.ConstructsChoice {
	return []contracts.ConstructsChoice{
		contracts.ConstructsChoiceNull{},
		contracts.ConstructsChoiceString("text"),
		contracts.ConstructsChoiceLong(math.MinInt64),
		contracts.ConstructsChoiceBoolean(false),
		contracts.ConstructsChoiceDouble(0x1p-1022),
		contracts.ConstructsChoiceBytes{1, 2},
		contracts.ConstructsChoicePoint{X: 0, Y: heddle.Ptr(-0.5)},
		contracts.ConstructsChoiceKind(contracts.KindNone),
		contracts.ConstructsChoiceArray{{X: 3}},
		contracts.ConstructsChoiceMap{{Key: "k", Value: "v"}},
	}
}
