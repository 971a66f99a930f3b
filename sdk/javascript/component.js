// The host's side in a component; tests do not use it.

import context from "heddle:runtime/context@0.1.0";
import log from "heddle:runtime/log@0.1.0";
import random from "heddle:runtime/random@0.1.0";

import * as sdk from "./sdk.js";

/** Installs the host. `interfaces` are the component's emitters, stores and tables, by name. */
export function start(interfaces) {
  sdk.install({
    context: () => context.current(),
    log: (level, message) => log.write(level, message.toWellFormed()),
    nextU64: () => random.nextU64(),
    bytes: (length) => random.bytes(length),
    send: (name, value) => interfaces[name].send(value),
    sendWith: (name, value, key, headers) => interfaces[name].sendWith(value, key, headers),
    sendTombstone: (name, key) => interfaces[name].delete(key),
    get: (name, key) => interfaces[name].get(key),
    put: (name, key, value) => interfaces[name].put(key, value),
    delete: (name, key) => interfaces[name].delete(key),
    scan: (name, prefix, after, limit) => interfaces[name].scan(prefix, after, limit),
  });
  determine();
}

/** Takes JavaScript's clocks and random numbers from the host, so all deliveries of a record have the same result. */
function determine() {
  const now = () => Number(sdk.context.current().timestamp);
  const Original = Date;
  globalThis.Date = class Date extends Original {
    constructor(...parts) {
      super(...(parts.length === 0 ? [now()] : parts));
    }
    static now() {
      return now();
    }
  };
  Math.random = () => Number(sdk.random.nextU64() >> 11n) / 2 ** 53;
  globalThis.console = { ...sdk.log, log: sdk.log.info };
}

/** The message of a thrown value. Its own code may throw again. */
function words(of) {
  try {
    return String(of());
  } catch {
    return "something without words";
  }
}

/** The interface of a handler. An error that is not a failure is a trap; its place is logged first. */
export function exported(handler, value, key) {
  const call = sdk.called(handler, value, key);
  return {
    handle(rawValue, rawKey) {
      try {
        call(rawValue, rawKey);
      } catch (error) {
        if (error instanceof sdk.Failure) throw { tag: error.kind, val: error.message.toWellFormed() };
        const place = words(() => error?.stack ?? "").split("\n")[0].trim();
        sdk.log.error(`uncaught ${words(() => error)} ${place}`);
        throw error;
      }
    },
  };
}
