// The guarantees of a TestHost for unit tests, shown with handlers that use every feature.

import assert from "node:assert/strict";
import { test } from "node:test";

import { TestHost } from "#heddle/testing";

import { onProbeKeyed, onProbeValues } from "../src/index.js";
import { constructs } from "../src/made.js";

const probe = (what, more) => ({ do: what, n: 1, text: "", after: null, constructs: null, ...more });

test("every type goes through and back", () => {
  const { emits } = new TestHost().deliver(onProbeValues, probe("echo", { constructs: constructs() }));
  assert.deepEqual(emits[0].value.constructs, constructs());
});

test("what a handler wrote is there for the next one, unless it failed", () => {
  const host = new TestHost();
  for (const [text, long] of [["b", 2n], ["a", 1n], ["ä", 3n]]) {
    host.deliver(onProbeValues, probe("put", { text, constructs: { ...constructs(), long } }));
  }
  const scan = (more) => host.deliver(onProbeValues, probe("scan", { n: 10, ...more })).emits.map(({ value }) => [value.text, value.n]);
  assert.deepEqual(scan(), [["a", 1n], ["b", 2n], ["ä", 3n]]);
  assert.deepEqual(scan({ after: "a", n: 1 }), [["b", 2n]]);
  const { emits, failure, log } = host.deliver(onProbeValues, probe("reject", { text: "no" }));
  assert.deepEqual([emits, failure, log.length], [[], { kind: "rejected", reason: "no" }, 2]);
  assert.deepEqual(host.store("raw"), []);
  assert.equal(host.store("things").length, 3);
});

test("a handler sees what it wrote itself", () => {
  const { emits } = new TestHost().deliver(onProbeValues, probe("raw-keys", { n: 5 }));
  assert.deepEqual(emits.map(({ value }) => [value.text, value.n]), [["[0]", 1n], ["[0,255]", 5n], ["", -1n]]);
});

test("a table has what a test has filled it with", () => {
  const host = new TestHost();
  host.fill("facts", "b", { n: 2n, note: "two" });
  host.fill("facts", "a", { n: 1n, note: null });
  host.fill("facts", "c", { n: 3n, note: null });
  host.fill("facts", "c", null);
  host.fill("named", { x: 7, y: 0.5 }, Uint8Array.of(0, 255));
  const look = (what, more) => host.deliver(onProbeValues, probe(what, more)).emits.map(({ value }) => [value.text, value.n]);
  assert.deepEqual(look("fact", { text: "b" }), [["two", 2n]]);
  assert.deepEqual(look("fact", { text: "c" }), [["", -1n]]);
  assert.deepEqual(look("facts", { n: 10 }), [["a", 1n], ["b", 2n]]);
  assert.deepEqual([look("named", { n: 7 }), look("named", { n: 8 })], [[["[0,255]", 2n]], [["", -1n]]]);
  assert.throws(() => host.fill("others", "a", null), /others is not a table of this component: those are facts, named/);
});

test("a value that does not fit its type is reported with its place", () => {
  const wrong = { ...constructs(), points: [{ x: "1", y: null }] };
  const deliver = (event) => () => new TestHost().deliver(onProbeValues, event);
  assert.throws(deliver(probe("put", { constructs: wrong })), /at the value\.constructs\.points\[0\]\.x: a whole number of 32 bits is expected, not string/);
  assert.throws(deliver({ do: "echo" }), /at the value\.n/);
});

test("an error that is not a failure is thrown on and keeps nothing", () => {
  const host = new TestHost();
  assert.throws(() => host.deliver(onProbeValues, probe("trap")), /as asked/);
});

test("the context, keys and random numbers are those that the test gives", () => {
  const host = new TestHost();
  const context = () => host.deliver(onProbeValues, probe("context"), { key: "k", timestamp: 5, attempt: 2 }).emits[0].value.text;
  assert.equal(context(), "probe.values/0/0 2 probe.values 0 0 5 [107] ");
  assert.equal(context(), "probe.values/0/1 2 probe.values 0 1 5 [107] ");
  const random = (offset) => host.deliver(onProbeValues, probe("random"), { offset }).emits[0].value.text;
  assert.equal(random(7), random(7));
  assert.notEqual(random(7), random(8));
  const { emits } = host.deliver(onProbeKeyed, Uint8Array.of(1), { typedKey: { x: 1, y: 2 } });
  assert.deepEqual(emits.map(({ key }) => key), [null, { x: 2, y: 4 }]);
  const { emits: deleted } = host.deliver(onProbeKeyed, null, { key: { x: 1, y: 2 } });
  assert.deepEqual(deleted.map(({ key, value }) => [key, value]), [[{ x: 1, y: 2 }, null], ["own kéy", null], [Uint8Array.of(0, 255), null]]);
});
