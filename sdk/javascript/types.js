// Types of the schemas at work: what a handler is given, and what it hands over, checked with the place told.
//
//   lift   what QuickJS and the host hand over  ->  what a handler works with
//   lower  the other way; throws a TypeError that says where a value does not fit
//
// Longs are BigInts for a handler. The host's side has their 64 bits as 16 hexadecimal digits.

function refuse(path, expected, value) {
  const found = value === null ? "null" : Array.isArray(value) ? "an array" : typeof value;
  throw new TypeError(`at ${path}: ${expected} is expected, not ${found}`);
}

const same = (value) => value;

function plain(expected, fits) {
  return {
    lift: same,
    lower(value, path) {
      return fits(value) ? value : refuse(path, expected, value);
    },
  };
}

export const bool = plain("a boolean", (value) => typeof value === "boolean");
export const s32 = plain("a whole number of 32 bits", (value) => typeof value === "number" && (value | 0) === value);
export const f32 = plain("a number", (value) => typeof value === "number");
export const f64 = f32;
export const string = plain("a string", (value) => typeof value === "string");

const digits = (value) => value.toString(16).padStart(16, "0");

export const s64 = {
  lift: (raw) => BigInt.asIntN(64, BigInt("0x" + raw)),
  lower(value, path) {
    const expected = "a bigint of 64 bits, or a safe integer,";
    if (typeof value !== "bigint") {
      if (!Number.isSafeInteger(value)) refuse(path, expected, value);
      value = BigInt(value);
    }
    const bits = BigInt.asUintN(64, value);
    if (BigInt.asIntN(64, bits) !== value) throw new TypeError(`at ${path}: ${value} does not fit into 64 bits`);
    return digits(bits);
  },
};

export const u64 = { lift: (raw) => BigInt("0x" + raw) };

export const bytes = {
  lift: (raw) => (raw instanceof Uint8Array ? raw : Uint8Array.from(raw)),
  lower: (value, path) => (value instanceof Uint8Array ? value : refuse(path, "a Uint8Array", value)),
};

export function list(item) {
  return {
    lift: (raw) => Array.from(raw, (value) => item.lift(value)),
    lower(value, path) {
      // A Map is a list of pairs.
      if (value instanceof Map) value = [...value];
      if (!Array.isArray(value)) refuse(path, "an array", value);
      return value.map((value, index) => item.lower(value, `${path}[${index}]`));
    },
  };
}

export function tuple(...types) {
  return {
    lift: (raw) => types.map((type, index) => type.lift(raw[index])),
    lower(value, path) {
      if (!Array.isArray(value) || value.length !== types.length) refuse(path, `an array of ${types.length}`, value);
      return types.map((type, index) => type.lower(value[index], `${path}[${index}]`));
    },
  };
}

export function option(some) {
  const none = (value) => value === null || value === undefined;
  return {
    lift: (raw) => (none(raw) ? null : some.lift(raw)),
    lower: (value, path) => (none(value) ? null : some.lower(value, path)),
  };
}

export function record(fields) {
  const all = Object.entries(fields);
  return {
    lift(raw) {
      const value = {};
      for (const [name, type] of all) value[name] = type.lift(raw[name]);
      return value;
    },
    lower(value, path) {
      if (typeof value !== "object" || value === null) refuse(path, "an object", value);
      const raw = {};
      for (const [name, type] of all) raw[name] = type.lower(value[name], `${path}.${name}`);
      return raw;
    },
  };
}

export function enumeration(...names) {
  return plain(`one of ${names.map((name) => `"${name}"`).join(", ")}`, (value) => names.includes(value));
}

export function variant(cases) {
  return {
    lift(raw) {
      const type = cases[raw.tag];
      return type ? { tag: raw.tag, val: type.lift(raw.val) } : { tag: raw.tag };
    },
    lower(value, path) {
      if (typeof value !== "object" || value === null || !Object.hasOwn(cases, value.tag)) {
        refuse(path, `an object whose tag is one of ${Object.keys(cases).map((name) => `"${name}"`).join(", ")}`, value);
      }
      const type = cases[value.tag];
      return type ? { tag: value.tag, val: type.lower(value.val, `${path}.${value.tag}`) } : { tag: value.tag };
    },
  };
}

/** A header of a record: names may repeat, values may be null. */
export const header = record({ name: string, value: option(bytes) });

export { digits };
