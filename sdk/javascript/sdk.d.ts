// What every component has, whatever its contract.

/** Why a handler could not do its work. Nothing it emitted or wrote is kept. Throw what `rejected` and `failed` make. */
export class Failure extends Error {
  readonly kind: "rejected" | "failed";
}

/** Trying again cannot cure it: the record is set aside in the dead-letter topic at once. */
export function rejected(reason: string | Error): Failure;

/** It may pass: the component's failure policy decides whether to try again. */
export function failed(reason: string | Error): Failure;

/** A header of a record. Names may repeat; a value may be null. */
export interface Header {
  name: string;
  value: Uint8Array | null;
}

/** One record on its way to a handler. */
export interface Delivery {
  /** The same for every attempt: `<app>.<component>/<topic>/<partition>/<offset>`. */
  id: string;
  /** 1 for the first try. */
  attempt: number;
  topic: string;
  partition: number;
  offset: bigint;
  /** Milliseconds since 1970-01-01T00:00:00Z: the only clock a handler has. `Date` shows it, too. */
  timestamp: bigint;
  /** The record's key as it is in the log. */
  key: Uint8Array | null;
  headers: Header[];
}

/** What is being handled. */
export const context: { current(): Delivery };

type Write = (...parts: unknown[]) => void;

/**
 * Lines for the host's log, told when the handler is done: all of them if it succeeds; if it fails, those of `warn` and `error`.
 * The first 100 of a delivery are kept and the last one, of 8 KiB each. `console` writes there, too.
 */
export const log: { trace: Write; debug: Write; info: Write; warn: Write; error: Write };

/**
 * Numbers that look random and are the same whenever the same record is handled: seeded by component, topic, partition and offset,
 * not by the attempt. `Math.random` draws from them, too. Not for secrets.
 */
export const random: {
  /** The next 64 bits. */
  nextU64(): bigint;
  /** The next bytes, at most 65536 at a time. */
  bytes(length: number): Uint8Array;
  /** A number from `start` on and below `end`, each as likely as any other. */
  range(start: number, end: number): number;
  range(start: bigint, end: bigint): bigint;
};

/** Emits to one topic. */
export interface Emitter<Value, Key> {
  /** Emits a value under the key of the record that is being handled. */
  send(value: Value): void;
  /** Emits a value under a key of its own, if one is given, and with headers. */
  sendWith(value: Value, key?: Key | null, headers?: Header[]): void;
  /** Emits a tombstone: a key without a value. In a compacted topic it deletes the key. */
  delete(key: Key): void;
}

/** A store of the component. A handler sees what it wrote; it is kept only if the handler succeeds. */
export interface Store<Key, Value> {
  /** The value of a key, with what this handler wrote so far. */
  get(key: Key): Value | null;
  put(key: Key, value: Value): void;
  delete(key: Key): void;
}

/** A store whose keys have an order. */
export interface ScannableStore<Key, Value> extends Store<Key, Value> {
  /**
   * The entries whose keys begin with `prefix`, in the order of the keys' bytes, at most `limit`; with `after`, only those whose
   * keys are greater. At most 4 MiB together.
   */
  scan(prefix: Key, after: Key | null, limit: number): Array<[Key, Value]>;
}
