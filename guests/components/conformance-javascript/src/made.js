// Values that the component makes: the limits of every range, and text beyond ASCII.

/** @returns {import("#heddle/contracts").Constructs} */
export const constructs = () => ({
  flag: true,
  int: -(2 ** 31),
  long: 2n ** 63n - 1n,
  float: 0.1,
  double: -0,
  string: "grüße, 世界 🧵\0\n",
  uuid: "0f8fad5b-d9cb-469f-a165-70867728950e",
  bytes: Uint8Array.from({ length: 256 }, (_, byte) => byte),
  four: Uint8Array.of(0, 127, 128, 255),
  day: -719_162,
  timeMillis: 86_399_999,
  timeMicros: 86_399_999_999n,
  atMillis: -1n,
  atMicros: 1_700_000_000_000_001n,
  localMillis: 9_007_199_254_740_993n,
  price: "-1234567890123456789012345678.90",
  rate: "0.000001",
  class: "first",
  type: "in-transit",
  point: { x: -1, y: Number.MAX_VALUE },
  longs: [-(2n ** 63n), -1n, 0n, 9_007_199_254_740_993n],
  points: [
    { x: 1, y: null },
    { x: 2, y: 0.1 },
  ],
  rows: [[], [null, ""], ["a"]],
  map: [
    ["", 1.5],
    ["ö", Infinity],
  ],
  kinds: [
    ["a", null],
    ["b", "default"],
    ["c", "red2"],
  ],
  maybe: "",
  perhaps: { x: 2 ** 31 - 1, y: null },
  flags: [true, false],
  choice: { tag: "null" },
  next: null,
});

/**
 * One of each branch.
 * @returns {import("#heddle/contracts").ConstructsChoice[]}
 */
export const choices = () => [
  { tag: "null" },
  { tag: "string", val: "text" },
  { tag: "long", val: -(2n ** 63n) },
  { tag: "boolean", val: false },
  { tag: "double", val: 2.2250738585072014e-308 },
  { tag: "bytes", val: Uint8Array.of(1, 2) },
  { tag: "point", val: { x: 0, y: -0.5 } },
  { tag: "kind", val: "none" },
  { tag: "array", val: [{ x: 3, y: null }] },
  { tag: "map", val: [["k", "v"]] },
];
