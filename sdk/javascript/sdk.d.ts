// The parts of every component.

/** The failure of a handler. Its emits and writes are dropped. Throw the results of `rejected` and `failed`. */
export class Failure extends Error {
  readonly kind: "rejected" | "failed";
}

/** A failure that another attempt cannot fix: the record is dead-lettered at once. */
export function rejected(reason: string | Error): Failure;

/** A failure that may pass: the component's failure policy decides if the record is tried again. */
export function failed(reason: string | Error): Failure;

/** A header of a record. Names may repeat; a value may be null. */
export interface Header {
  name: string;
  value: Uint8Array | null;
}

/** One record that is passed to a handler. */
export interface Delivery {
  /** The same for every attempt: `<app>.<component>/<topic>/<partition>/<offset>`. */
  id: string;
  /** 1 in the first attempt. */
  attempt: number;
  topic: string;
  partition: number;
  offset: bigint;
  /** Milliseconds since 1970-01-01T00:00:00Z. It is the only clock of a handler, and that of `Date`. */
  timestamp: bigint;
  /** The record's key in the log. */
  key: Uint8Array | null;
  headers: Header[];
}

/** The current delivery. */
export const context: { current(): Delivery };

type Write = (...parts: unknown[]) => void;

/**
 * Writes lines to the host's log when the handler has ended: all lines if it succeeds, those of `warn` and `error` if
 * it fails. The first 100 lines of a delivery and its last line are kept, of 8 KiB each. `console` writes there, too.
 */
export const log: { trace: Write; debug: Write; info: Write; warn: Write; error: Write };

/**
 * Random numbers that are the same in every delivery of the same record. Their seed is the component, topic, partition
 * and offset, not the attempt. `Math.random` draws from them, too. They are not for secrets.
 */
export const random: {
  /** The next 64 bits. */
  nextU64(): bigint;
  /** The next bytes, at most 65536 at a time. */
  bytes(length: number): Uint8Array;
  /** A uniformly distributed number from `start` to below `end`. */
  range(start: number, end: number): number;
  range(start: bigint, end: bigint): bigint;
};

/** Emits to one topic. */
export interface Emitter<Value, Key> {
  /** Emits a value under the key of the record that is being handled. */
  send(value: Value): void;
  /**
   * Emits a value with headers, under the given key or, without one, under that of the record that is being handled.
   */
  sendWith(value: Value, key?: Key | null, headers?: Header[]): void;
  /** Emits a tombstone: a key without a value. In a compacted topic it deletes the key. */
  delete(key: Key): void;
}

/** A store of the component. A handler reads its own writes, which are kept only if it succeeds. */
export interface Store<Key, Value> {
  /** The value of a key, including writes of this handler. */
  get(key: Key): Value | null;
  put(key: Key, value: Value): void;
  delete(key: Key): void;
}

/** A store with ordered keys. */
export interface ScannableStore<Key, Value> extends Store<Key, Value> {
  /**
   * Returns at most `limit` entries whose keys begin with `prefix`, in the order of the keys' bytes. With `after`,
   * returns only those with greater keys. They have at most 4 MiB together.
   */
  scan(prefix: Key, after: Key | null, limit: number): Array<[Key, Value]>;
}

/** A table of the component: a read-only view of a compacted topic. */
export interface Table<Key, Value> {
  /** The newest value of a key. */
  get(key: Key): Value | null;
}

/** A table with ordered keys. */
export interface ScannableTable<Key, Value> extends Table<Key, Value> {
  /**
   * Returns at most `limit` entries whose keys begin with `prefix`, in the order of the keys' bytes. With `after`,
   * returns only those with greater keys. They have at most 4 MiB together.
   */
  scan(prefix: Key, after: Key | null, limit: number): Array<[Key, Value]>;
}
