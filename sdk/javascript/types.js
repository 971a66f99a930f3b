// The types of the schemas: conversion and checks of the values that a handler gets and passes on.
//
//   lift   converts a value of QuickJS and the host for a handler, in place where possible
//   lower  converts a handler's value; throws a TypeError with the place if the value does not fit
//
// Longs are BigInts in a handler. The host represents their 64 bits as 16 hexadecimal digits.
//
// All of this is interpreted, several times per delivery. So loops replace iterators and destructuring, places are
// built only for errors, and values that are the same on both sides are not touched.

/** An error about a value that does not fit, with its place in the value. */
class Misfit {
  constructor(problem) {
    this.problem = problem;
    this.place = "";
  }
}

/** Adds a part to the place of a misfit, to be thrown again. */
function within(error, part) {
  if (error instanceof Misfit) error.place = part + error.place;
  return error;
}

function refuse(expected, value) {
  const found = value === null ? "null" : Array.isArray(value) ? "an array" : typeof value;
  throw new Misfit(`${expected} is expected, not ${found}`);
}

/** Lowers a value; `what` names it in the error. */
export function lowered(type, value, what) {
  try {
    return type.lower(value);
  } catch (error) {
    if (!(error instanceof Misfit)) throw error;
    throw new TypeError(`at ${what}${error.place}: ${error.problem}`);
  }
}

/** The lift of values that stay as they are. */
const same = (value) => value;

/** A type with the same values on both sides. If `primitive` is given, all values of this `typeof` fit. */
const plain = (lower, primitive) => ({ lift: same, lower, primitive });

export const bool = plain((value) => (typeof value === "boolean" ? value : refuse("a boolean", value)), "boolean");
export const s32 = plain((value) =>
  typeof value === "number" && (value | 0) === value ? value : refuse("a whole number of 32 bits", value),
);
/** QuickJS passes the 32 bits as a signed number, in both directions. */
export const u32 = {
  lift: (raw) => raw >>> 0,
  lower: (value) =>
    typeof value === "number" && value >>> 0 === value
      ? value | 0
      : refuse("a whole number of 32 bits without a sign", value),
};
export const f64 = plain((value) => (typeof value === "number" ? value : refuse("a number", value)), "number");
export const f32 = plain((value) => {
  f64.lower(value);
  if (Number.isFinite(value) && !Number.isFinite(Math.fround(value))) throw new Misfit(`${value} does not fit into 32 bits`);
  return value;
});
/** QuickJS traps without a message on a lone surrogate. Text of the host has none. */
export const string = plain((value) => {
  if (typeof value !== "string") refuse("a string", value);
  if (value.isWellFormed()) return value;
  throw new Misfit(`text in Unicode is expected, but a surrogate stands alone at ${value.search(/\p{Surrogate}/u)}`);
});

const ZEROS = "0000000000000000";
const SAFE = Number.MAX_SAFE_INTEGER;

function padded(text) {
  return ZEROS.slice(text.length) + text;
}

/** The digits of a BigInt with 64 bits that is not negative. */
export function digits(bits) {
  return padded(bits.toString(16));
}

/** From here on, numbers exceed JavaScript's safe integers. Negative ones are above it, too. */
const LARGE = "0020000000000000";

const bigint = (raw) => (raw < LARGE ? BigInt(parseInt(raw, 16)) : BigInt("0x" + raw));

export const s64 = {
  lift: (raw) => (raw < LARGE ? bigint(raw) : BigInt.asIntN(64, bigint(raw))),
  lower(value) {
    const isBigInt = typeof value === "bigint";
    if (!isBigInt && !Number.isSafeInteger(value)) refuse("a bigint of 64 bits, or a safe integer,", value);
    // Nearly all values are small, and numbers are several times as fast as BigInts.
    const number = isBigInt ? Number(value) : value;
    if (number >= 0 && number <= SAFE) return padded(number.toString(16));
    const bits = BigInt.asUintN(64, BigInt(value));
    if (BigInt.asIntN(64, bits) !== BigInt(value)) throw new Misfit(`${value} does not fit into 64 bits`);
    return digits(bits);
  },
};

export const u64 = {
  lift: bigint,
  lower(value) {
    const isBigInt = typeof value === "bigint";
    if (!isBigInt && !Number.isSafeInteger(value)) refuse("a bigint of 64 bits, or a safe integer,", value);
    if (value < 0 || BigInt.asUintN(64, BigInt(value)) !== BigInt(value)) {
      throw new Misfit(`${value} does not fit into 64 bits without a sign`);
    }
    return digits(BigInt(value));
  },
};

export const bytes = {
  lift: (raw) => (raw instanceof Uint8Array ? raw : Uint8Array.from(raw)),
  lower: (value) => (value instanceof Uint8Array ? value : refuse("a Uint8Array", value)),
};

/** Lifts all items in place. */
function liftAll(type, items) {
  if (type.lift !== same) {
    for (let at = 0; at < items.length; at++) items[at] = type.lift(items[at]);
  }
  return items;
}

export function list(item) {
  return {
    // QuickJS represents lists of some number types as typed arrays.
    lift: (raw) => liftAll(item, Array.isArray(raw) ? raw : Array.from(raw)),
    lower(value) {
      // A Map is a list of pairs.
      if (value instanceof Map) value = [...value];
      if (!Array.isArray(value)) refuse("an array", value);
      const raw = new Array(value.length);
      let at = 0;
      try {
        for (; at < raw.length; at++) raw[at] = item.lower(value[at]);
      } catch (error) {
        throw within(error, `[${at}]`);
      }
      return raw;
    },
  };
}

export function tuple(...types) {
  const size = types.length;
  return {
    lift(raw) {
      const value = new Array(size);
      for (let at = 0; at < size; at++) value[at] = types[at].lift(raw[at]);
      return value;
    },
    lower(value) {
      if (!Array.isArray(value) || value.length !== size) refuse(`an array of ${size}`, value);
      const raw = new Array(size);
      let at = 0;
      try {
        for (; at < size; at++) raw[at] = types[at].lower(value[at]);
      } catch (error) {
        throw within(error, `[${at}]`);
      }
      return raw;
    },
  };
}

export function option(some) {
  return {
    lift: (raw) => (raw === null || raw === undefined ? null : some.lift(raw)),
    lower: (value) => (value === null || value === undefined ? null : some.lower(value)),
  };
}

export function record(fields) {
  const names = Object.keys(fields);
  const types = Object.values(fields);
  const primitives = types.map((type) => type.primitive);
  const lifted = names.filter((name) => fields[name].lift !== same);
  const lifts = lifted.map((name) => fields[name].lift);
  function lift(raw) {
    for (let at = 0; at < lifted.length; at++) raw[lifted[at]] = lifts[at](raw[lifted[at]]);
    return raw;
  }
  return {
    lift: lifted.length === 0 ? same : lift,
    lower(value) {
      if (typeof value !== "object" || value === null) refuse("an object", value);
      const raw = {};
      let at = 0;
      try {
        for (; at < names.length; at++) {
          const field = value[names[at]];
          raw[names[at]] = typeof field === primitives[at] ? field : types[at].lower(field);
        }
      } catch (error) {
        throw within(error, `.${names[at]}`);
      }
      return raw;
    },
  };
}

export function enumeration(...names) {
  const expected = `one of ${names.map((name) => `"${name}"`).join(", ")}`;
  return plain((value) => (names.includes(value) ? value : refuse(expected, value)));
}

export function variant(cases) {
  const expected = `an object whose tag is one of ${Object.keys(cases).map((name) => `"${name}"`).join(", ")}`;
  return {
    lift(raw) {
      const type = cases[raw.tag];
      return type ? { tag: raw.tag, val: type.lift(raw.val) } : { tag: raw.tag };
    },
    lower(value) {
      if (typeof value !== "object" || value === null || !Object.hasOwn(cases, value.tag)) refuse(expected, value);
      const type = cases[value.tag];
      if (!type) return { tag: value.tag };
      try {
        return { tag: value.tag, val: type.lower(value.val) };
      } catch (error) {
        throw within(error, `.${value.tag}`);
      }
    },
  };
}

/** A header of a record: names may repeat, values may be null. */
export const header = record({ name: string, value: option(bytes) });
