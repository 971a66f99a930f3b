// A host for unit tests: runs handlers natively, with emits, stores, log and random numbers in memory.

import type { Header } from "./sdk.js";

export interface DeliveryOptions {
  /** The record's key: text or bytes, or a value of the keys' type where the contract types them. */
  key?: unknown;
  /** The key as the handler takes it, where the contract types keys and `key` is what `context` shows. */
  typedKey?: unknown;
  headers?: Header[];
  /** Milliseconds since 1970-01-01T00:00:00Z; 0 if nothing is said. */
  timestamp?: number | bigint;
  /** 1 if nothing is said. */
  attempt?: number;
  /** One more than the last if nothing is said. */
  offset?: number | bigint;
}

export interface Outcome {
  /** What was emitted, in order; nothing if the handler failed. The value of a tombstone is null. */
  emits: Array<{ topic: string; value: any; key: any; headers: Header[] }>;
  /** Why the handler failed, if it did. */
  failure: { kind: "rejected" | "failed"; reason: string } | null;
  log: Array<{ level: string; message: string }>;
}

/** One partition of the component, on its own. What handlers write to stores is there for the next delivery, if they succeed. */
export class TestHost {
  /** Calls a handler as the host does. What it throws and is no failure is thrown on: in a component it is a trap. */
  deliver(handler: (...args: any[]) => void, value: unknown, options?: DeliveryOptions): Outcome;
  /** The entries of a store. */
  store(name: string): Array<[any, any]>;
}
