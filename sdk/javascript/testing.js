// A host for unit tests: runs handlers natively, with emits, stores, tables, log and random numbers in memory.

import { Failure, called, install } from "./sdk.js";
import { digits, lowered } from "./types.js";
import { world } from "./world.js";

/** The bytes of a key in hexadecimal, or its JSON, as a key of a Map. */
const hex = (raw) => (raw instanceof Uint8Array ? Array.from(raw, (byte) => byte.toString(16).padStart(2, "0")).join("") : JSON.stringify(raw));

const utf8 = new TextEncoder();
const inBytes = (key) => (key instanceof Uint8Array ? key : utf8.encode(key));

function compare(left, right) {
  const [a, b] = [inBytes(left), inBytes(right)];
  for (let at = 0; at < Math.min(a.length, b.length); at++) {
    if (a[at] !== b[at]) return a[at] - b[at];
  }
  return a.length - b.length;
}

const begins = (key, prefix) => {
  const [all, first] = [inBytes(key), inBytes(prefix)];
  return first.every((byte, at) => all[at] === byte);
};

/** Values are lifted in place, so kept values are returned as copies, as a host does. */
const copy = structuredClone;

/** The state of one store: its committed entries and the writes of the current delivery. */
class Entries {
  committed = new Map();
  written = new Map();

  get(key) {
    const entry = this.written.get(hex(key)) ?? this.committed.get(hex(key));
    return copy(entry?.value ?? null);
  }

  put(key, value) {
    this.written.set(hex(key), { key, value });
  }

  delete(key) {
    this.written.set(hex(key), { key, value: undefined });
  }

  all() {
    const entries = new Map([...this.committed, ...this.written]);
    return [...entries.values()].filter((entry) => entry.value !== undefined);
  }

  scan(prefix, after, limit) {
    const found = this.all().filter(({ key }) => begins(key, prefix) && (after === null || compare(key, after) > 0));
    found.sort((left, right) => compare(left.key, right.key));
    return found.slice(0, limit).map(({ key, value }) => copy([key, value]));
  }

  settle(keep) {
    if (keep) this.committed = new Map(this.all().map((entry) => [hex(entry.key), entry]));
    this.written.clear();
  }
}

/** Random bits from a seed (splitmix64). They differ from those of a host, but are the same in every run. */
function* bits(seed) {
  let state = BigInt(seed);
  for (;;) {
    state = BigInt.asUintN(64, state + 0x9e3779b97f4a7c15n);
    let next = state;
    next = BigInt.asUintN(64, (next ^ (next >> 30n)) * 0xbf58476d1ce4e5b9n);
    next = BigInt.asUintN(64, (next ^ (next >> 27n)) * 0x94d049bb133111ebn);
    yield next ^ (next >> 31n);
  }
}

export class TestHost {
  #entries = new Map();
  #tables = new Map();
  #offset = -1;
  #drawn = bits(0);
  #delivery = null;
  #emits = [];
  #log = [];

  deliver(handler, value, options = {}) {
    const known = world.handlers[handler.name];
    if (!known) throw new Error(`${handler.name} is not a handler of this component: those are ${Object.keys(world.handlers).join(", ")}`);
    this.#begin(known, options);
    const key = options.typedKey !== undefined ? options.typedKey : options.key;
    const rawKey = known.key && key !== undefined ? lowered(known.key, key, "the key") : null;
    const raw = lowered(known.value, value, "the value");
    const before = install(this.#host());
    let failure = null;
    try {
      called(handler, known.value, known.key)(raw, rawKey);
    } catch (error) {
      if (!(error instanceof Failure)) {
        this.#settle(false);
        throw error;
      }
      failure = { kind: error.kind, reason: error.message };
    } finally {
      install(before);
    }
    this.#settle(failure === null);
    return { emits: failure === null ? this.#emits : [], failure, log: this.#log };
  }

  store(name) {
    const { key, value } = world.stores[name];
    return this.#of(name).all().map((entry) => [key.lift(copy(entry.key)), value.lift(copy(entry.value))]);
  }

  fill(name, key, value) {
    const table = world.tables[name];
    if (!table) throw new Error(`${name} is not a table of this component: those are ${Object.keys(world.tables).join(", ")}`);
    const at = lowered(table.key, key, "the key");
    const entries = this.#table(name);
    if (value === null) entries.delete(at);
    else entries.put(at, lowered(table.value, value, "the value"));
    entries.settle(true);
  }

  #table(name) {
    if (!this.#tables.has(name)) this.#tables.set(name, new Entries());
    return this.#tables.get(name);
  }

  #begin(known, options) {
    const offset = BigInt(options.offset ?? ++this.#offset);
    this.#offset = Number(offset);
    const text = typeof options.key === "string" ? utf8.encode(options.key) : options.key;
    // The bytes of a typed key in the log depend on its schema's id in the registry, so they are not known here.
    const key = text instanceof Uint8Array ? text : null;
    this.#delivery = {
      id: `test.component/${known.topic}/0/${offset}`,
      attempt: options.attempt ?? 1,
      topic: known.topic,
      partition: 0,
      offset: digits(BigInt.asUintN(64, offset)),
      timestamp: digits(BigInt.asUintN(64, BigInt(options.timestamp ?? 0))),
      key,
      headers: options.headers ?? [],
    };
    this.#drawn = bits(offset);
    this.#emits = [];
    this.#log = [];
  }

  #of(name) {
    if (!this.#entries.has(name)) this.#entries.set(name, new Entries());
    return this.#entries.get(name);
  }

  #settle(keep) {
    for (const entries of this.#entries.values()) entries.settle(keep);
  }

  #emit(name, value, key, headers) {
    const emitter = world.emitters[name];
    const part = (type, raw) => (raw === null ? null : type.lift(raw));
    this.#emits.push({ topic: emitter.topic, value: part(emitter.value, value), key: part(emitter.key, key), headers });
  }

  #host() {
    const plain = (name) => name.replace(/^[a-z]+-/, "");
    const read = (name) => (name.startsWith("table-") ? this.#table(plain(name)) : this.#of(plain(name)));
    return {
      context: () => copy(this.#delivery),
      log: (level, message) => this.#log.push({ level, message }),
      nextU64: () => digits(this.#drawn.next().value),
      bytes: (length) => Uint8Array.from({ length }, () => Number(this.#drawn.next().value & 0xffn)),
      send: (name, value) => this.#emit(name, value, null, []),
      sendWith: (name, value, key, headers) => this.#emit(name, value, key, headers),
      sendTombstone: (name, key) => this.#emit(name, null, key, []),
      get: (name, key) => read(name).get(key),
      put: (name, key, value) => read(name).put(key, value),
      delete: (name, key) => read(name).delete(key),
      scan: (name, prefix, after, limit) => read(name).scan(prefix, after, limit),
    };
  }
}
