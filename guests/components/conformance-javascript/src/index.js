// Acts as its input says, like its sibling in Rust.

import {
  context,
  emitProbeKeyedOut,
  emitProbeRawOut,
  emitProbeValuesOut,
  failed,
  log,
  random,
  rejected,
  storeRaw,
  storeThings,
  storeTyped,
  tableFacts,
  tableNamed,
} from "#heddle";

import { choices, constructs } from "./made.js";

const emit = (did, n, text) => emitProbeValuesOut.send({ did, n, text, constructs: null });
const emitConstructs = (did, value) => emitProbeValuesOut.send({ did, n: 0, text: "", constructs: value });
const listed = (bytes) => `[${bytes.join(",")}]`;
const point = (x) => ({ x, y: 0.5 });

/** All data of the delivery. */
function delivery() {
  const it = context.current();
  const optional = (bytes) => (bytes === null ? "none" : listed(bytes));
  const headers = it.headers.map(({ name, value }) => `${name}=${optional(value)}`).join(";");
  const place = it.id.slice(it.id.indexOf("/") + 1);
  return [place, it.attempt, it.topic, it.partition, it.offset, it.timestamp, optional(it.key), headers].join(" ");
}

const stores = {
  put: (probe) => probe.constructs && storeThings.put(probe.text, probe.constructs),
  get: (probe) => emitConstructs("get", storeThings.get(probe.text)),
  delete(probe) {
    storeThings.delete(probe.text);
    emitConstructs("deleted", storeThings.get(probe.text));
  },
  scan(probe) {
    for (const [key, value] of storeThings.scan(probe.text, probe.after, probe.n)) emit("scan", value.long, key);
  },
  "raw-keys"(probe) {
    storeRaw.put(Uint8Array.of(0, 255), point(probe.n));
    storeRaw.put(Uint8Array.of(0), point(1));
    storeRaw.put(Uint8Array.of(1), point(2));
    storeRaw.delete(Uint8Array.of(1));
    for (const [key, value] of storeRaw.scan(Uint8Array.of(0), null, 10)) emit("raw-keys", value.x, listed(key));
    emit("raw-keys", storeRaw.get(Uint8Array.of(1))?.x ?? -1, "");
  },
  "typed-keys"(probe) {
    const key = point(probe.n);
    const before = storeTyped.get(key)?.x ?? 0;
    storeTyped.put(key, point(before + 1));
    emit("typed-keys", before, "");
    storeTyped.delete({ ...key, y: null });
  },
};

const tables = {
  fact(probe) {
    const fact = tableFacts.get(probe.text);
    emit("fact", fact?.n ?? -1, fact?.note ?? "");
  },
  facts(probe) {
    for (const [key, fact] of tableFacts.scan(probe.text, probe.after, probe.n)) emit("facts", fact.n, key);
  },
  named(probe) {
    const bytes = tableNamed.get(point(probe.n));
    emit("named", bytes?.length ?? -1, bytes === null ? "" : listed(bytes));
  },
};

const failures = {
  reject(probe) {
    emit("reject", 0, "");
    storeRaw.put(Uint8Array.of(9), point(9));
    log.info("not written");
    log.warn("about to reject");
    throw rejected(probe.text);
  },
  fail(probe) {
    throw failed(probe.text);
  },
  "fail-once"(probe) {
    const { attempt } = context.current();
    if (attempt < 2) throw failed(probe.text);
    emit("fail-once", attempt, "");
  },
  trap() {
    emit("trap", 0, "");
    throw new Error("as asked");
  },
  loop() {
    for (;;);
  },
  grow() {
    const kept = [];
    for (;;) kept.push(new Uint8Array(1 << 20).fill(1));
  },
  "emit-wrong": () => emitConstructs("emit-wrong", { ...constructs(), price: "1.234" }),
  "put-wrong": () => storeThings.put("wrong", { ...constructs(), four: Uint8Array.of(1) }),
};

const others = {
  echo: (probe) => emitConstructs("echo", probe.constructs),
  make: () => emitConstructs("make", constructs()),
  choices() {
    for (const choice of choices()) emitConstructs("choices", { ...constructs(), choice });
  },
  many(probe) {
    for (let n = 0; n < probe.n; n++) emit("many", n, "");
  },
  "key-and-headers"(probe) {
    const headers = [
      { name: "a", value: Uint8Array.of(49) },
      { name: "a", value: null },
      { name: "ü", value: new Uint8Array() },
      { name: "b", value: Uint8Array.of(0, 255) },
    ];
    const probed = { did: "key-and-headers", n: -(2n ** 63n), text: probe.text, constructs: null };
    emitProbeValuesOut.sendWith(probed, "own kéy", headers);
    emitProbeValuesOut.sendWith(probed);
  },
  context: () => emit("context", 0, delivery()),
  random() {
    const [number, bytes] = [random.nextU64(), random.bytes(5)];
    const ranges = [random.range(0, 10), random.range(5, 6), random.range(0n, 2n ** 64n - 1n)];
    emit("random", 0, `${number} ${listed(bytes)} ${listed(ranges)}`);
  },
  log() {
    log.trace("a trace");
    log.debug("a debug line");
    log.info(5, "lines");
    log.warn("a warning");
    log.error("an error");
  },
};

const all = { ...stores, ...tables, ...failures, ...others };

/** @type {import("#heddle").OnProbeValues} */
export function onProbeValues(probe) {
  if (!Object.hasOwn(all, probe.do)) throw rejected(`there is nothing to do for ${probe.do}`);
  all[probe.do](probe);
}

/** @type {import("#heddle").OnProbeKeyed} */
export function onProbeKeyed(event, key) {
  if (key === null) throw rejected("there is no key");
  if (event === null) {
    emitProbeKeyedOut.delete(key);
    emitProbeValuesOut.delete("own kéy");
    emitProbeRawOut.delete(Uint8Array.of(0, 255));
    return;
  }
  emitProbeKeyedOut.send(event);
  emitProbeKeyedOut.sendWith(event, { x: key.x + 1, y: key.y === null ? null : key.y * 2 });
}

/** @type {import("#heddle").OnProbeRaw} */
export function onProbeRaw(event) {
  const backwards = event.slice().reverse();
  emitProbeRawOut.send(backwards);
  emitProbeRawOut.sendWith(backwards, Uint8Array.of(0, 255));
}
