// The parts of every component: failures, context, log and random; and the base of emitters, stores and tables.

import * as types from "./types.js";

/** The current host: the real one in a component, a `TestHost` in a test. */
let host = null;

/** Installs a host. Returns the former one. */
export function install(other) {
  const before = host;
  host = other;
  return before;
}

function answering(what) {
  if (host === null) throw new Error(`${what} has no host outside of a handler; a test calls handlers through a TestHost of "#heddle/testing"`);
  return host;
}

export class Failure extends Error {
  constructor(kind, reason) {
    super(String(reason));
    this.name = "Failure";
    this.kind = kind;
  }
}

export const rejected = (reason) => new Failure("rejected", reason?.message ?? reason);
export const failed = (reason) => new Failure("failed", reason?.message ?? reason);

const delivery = types.record({
  id: types.string,
  attempt: types.s32,
  topic: types.string,
  partition: types.s32,
  offset: types.s64,
  timestamp: types.s64,
  key: types.option(types.bytes),
  headers: types.list(types.header),
});

export const context = {
  current: () => delivery.lift(answering("context").context()),
};

const text = (parts) => parts.map((part) => (part instanceof Error ? (part.stack ?? part) : part)).map(String).join(" ");
const write = (level) => (...parts) => answering("log").log(level, text(parts));

export const log = {
  trace: write("trace"),
  debug: write("debug"),
  info: write("info"),
  warn: write("warn"),
  error: write("error"),
};

const U64_MAX = 2n ** 64n - 1n;

export const random = {
  nextU64: () => types.u64.lift(answering("random").nextU64()),
  bytes: (length) => types.bytes.lift(answering("random").bytes(length)),
  range(start, end) {
    const [from, to] = [BigInt(start), BigInt(end)];
    if (from >= to) throw new RangeError("there is no number in an empty range");
    const size = to - from;
    // Numbers above the last whole multiple would make the first ones more likely, so they are drawn again.
    const whole = U64_MAX - (U64_MAX % size);
    for (;;) {
      const number = random.nextU64();
      if (number < whole) {
        const drawn = from + (number % size);
        return typeof start === "bigint" || typeof end === "bigint" ? drawn : Number(drawn);
      }
    }
  },
};

export function emitter(name, value, key) {
  const optional = types.option(key);
  const headers = types.list(types.header);
  return {
    send(event) {
      const raw = types.lowered(value, event, "the value");
      answering(name).send(name, raw);
    },
    sendWith(event, ownKey, ownHeaders = []) {
      const raw = types.lowered(value, event, "the value");
      const rawKey = types.lowered(optional, ownKey, "the key");
      answering(name).sendWith(name, raw, rawKey, types.lowered(headers, ownHeaders, "the headers"));
    },
    delete(ownKey) {
      answering(name).sendTombstone(name, types.lowered(key, ownKey, "the key"));
    },
  };
}

export function store(name, key, value, scannable) {
  const one = types.option(value);
  const functions = {
    get: (at) => one.lift(answering(name).get(name, types.lowered(key, at, "the key"))),
    put: (at, to) => answering(name).put(name, types.lowered(key, at, "the key"), types.lowered(value, to, "the value")),
    delete: (at) => answering(name).delete(name, types.lowered(key, at, "the key")),
  };
  if (scannable) functions.scan = scan(name, key, value);
  return functions;
}

export function table(name, key, value, scannable) {
  const one = types.option(value);
  const functions = { get: (at) => one.lift(answering(name).get(name, types.lowered(key, at, "the key"))) };
  if (scannable) functions.scan = scan(name, key, value);
  return functions;
}

function scan(name, key, value) {
  const found = types.list(types.tuple(key, value));
  const optional = types.option(key);
  return (prefix, after, limit) => {
    const [from, behind] = [types.lowered(key, prefix, "the prefix"), types.lowered(optional, after, "after")];
    return found.lift(answering(name).scan(name, from, behind, limit));
  };
}

/** Calls a handler as the host does. Throws its failure. */
export function called(handler, value, key) {
  return (rawValue, rawKey) => {
    const event = value.lift(rawValue);
    const answer = key ? handler(event, key.lift(rawKey)) : handler(event);
    if (typeof answer?.then === "function") {
      throw new TypeError(`${handler.name} is asynchronous; a handler has nothing to wait for`);
    }
  };
}
