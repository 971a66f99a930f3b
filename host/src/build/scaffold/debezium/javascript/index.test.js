import assert from "node:assert/strict";
import { test } from "node:test";

import { TestHost } from "#heddle/testing";

import { onOrdersByCustomer, onShopPublicCustomers, onShopPublicOrders } from "../src/index.js";

/** A change of a table, at a position of the server's log. */
const change = (table, op, lsn, after) => ({
  before: null,
  after,
  source: {
    version: "3.6.1.Final",
    connector: "postgresql",
    name: "shop",
    tsMs: 0n,
    snapshot: null,
    db: "shop",
    sequence: null,
    tsUs: null,
    tsNs: null,
    schema: "public",
    table,
    txId: null,
    lsn,
    xmin: null,
    origin: null,
    originLsn: null,
  },
  transaction: null,
  op,
  tsMs: null,
  tsUs: null,
  tsNs: null,
});

/** Delivers a change, then what was passed on; the keys that this led to, with the customers' names or null for tombstones. */
function deliver(host, handler, value, key) {
  const passed = host.deliver(handler, value, { key });
  assert.equal(passed.failure, null);
  const emits = passed.emits.flatMap((emit) => host.deliver(onOrdersByCustomer, emit.value).emits);
  return emits.map((emit) => [emit.key, emit.value?.customer ?? null]);
}

/** The order 1 of a customer; of none if it was deleted. */
function order(host, customerId, lsn) {
  const row = { id: 1n, customerId, amount: "9.50", currency: "EUR", status: "open", placedAt: "2026-01-02T03:04:05.000006Z" };
  const value = customerId === null ? change("orders", "d", lsn, null) : change("orders", "u", lsn, row);
  return deliver(host, onShopPublicOrders, value, { id: 1n });
}

const tombstone = (host) => deliver(host, onShopPublicOrders, null, { id: 1n });

const customer = (host, id, name) =>
  deliver(host, onShopPublicCustomers, change("customers", "r", 0n, { id, name, email: null }), { id });

test("a row is joined when both sides are there", () => {
  const host = new TestHost();
  assert.deepEqual(order(host, 7, 10n), []);
  assert.deepEqual(customer(host, 7, "Ada"), [["7/1", "Ada"]]);
  assert.deepEqual(customer(host, 7, "Ada L."), [["7/1", "Ada L."]]);
  assert.deepEqual(order(host, null, 11n), [["7/1", null]]);
  // What follows every delete; compaction may leave only this.
  assert.deepEqual(tombstone(host), []);
});

test("an order that goes to another customer leaves the one it had", () => {
  const host = new TestHost();
  customer(host, 7, "Ada");
  customer(host, 8, "Bob");
  order(host, 7, 10n);
  assert.deepEqual(order(host, 8, 20n), [["7/1", null], ["8/1", "Bob"]]);
  // Debezium sends some changes again after a restart.
  assert.deepEqual(order(host, 7, 10n), []);
  assert.deepEqual(tombstone(host), [["8/1", null]]);
});
