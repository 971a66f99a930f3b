// A host for unit tests: runs handlers natively, with emits, stores, tables, log and random numbers in memory.

import type { Header } from "./sdk.js";

export interface DeliveryOptions {
  /** The record's key: text or bytes, or a value of the key's type if the contract types keys. */
  key?: unknown;
  /** The key as the handler gets it, if the contract types keys and `key` is the one in `context`. */
  typedKey?: unknown;
  headers?: Header[];
  /** Milliseconds since 1970-01-01T00:00:00Z; 0 by default. */
  timestamp?: number | bigint;
  /** 1 by default. */
  attempt?: number;
  /** By default, one more than the last offset. */
  offset?: number | bigint;
}

export interface Outcome {
  /** The emitted records, in order; none if the handler failed. The value of a tombstone is null. */
  emits: Array<{ topic: string; value: any; key: any; headers: Header[] }>;
  /** The failure of the handler, if it failed. */
  failure: { kind: "rejected" | "failed"; reason: string } | null;
  log: Array<{ level: string; message: string }>;
}

/** A separate partition of the component. Successful writes to stores are visible in the next delivery. */
export class TestHost {
  /** Calls a handler as the host does. Rethrows any error that is not a failure; in a component, it is a trap. */
  deliver(handler: (...args: any[]) => void, value: unknown, options?: DeliveryOptions): Outcome;
  /** The entries of a store. */
  store(name: string): Array<[any, any]>;
  /** Sets an entry of a table, or deletes it with `null`, as a record of its topic does. */
  fill(table: string, key: unknown, value: unknown): void;
}
