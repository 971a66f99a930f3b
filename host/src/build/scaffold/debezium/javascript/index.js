// Joins orders with their customers: two tables, as Debezium writes what changes in them.
//
//  shop.public.orders ────> store orders ──┐
//                                          ├──> orders.by-customer ──> stores customers, orders-of ──> orders.joined
//  shop.public.customers ──────────────────┘
//
// The topic of a table is partitioned by the table's own key. What is joined has to be in one partition, so the changes
// of both tables go through a topic whose key is the customer's.

import { emitOrdersByCustomer, emitOrdersJoined, rejected, storeCustomers, storeOrders, storeOrdersOf } from "#heddle";

/** The number of orders that are read at a time. */
const PAGE = 100;

/** @type {import("#heddle").OnShopPublicOrders} */
export function onShopPublicOrders(change, key) {
  if (key === null) throw noKey();
  const { id } = key;
  const before = storeOrders.get(`${id}`);
  if (before && change && isOld(change.op, change.source.lsn, before.lsn)) return;
  // A tombstone has no change: the row is deleted.
  const after = change && orderRow(change);
  if (after) storeOrders.put(`${id}`, after);
  else storeOrders.delete(`${id}`);
  // A row that is deleted, or goes to another customer, leaves the customer it had.
  if (before && before.customerId !== after?.customerId) passOrderOn({ id, customerId: before.customerId, row: null });
  if (after) passOrderOn({ id, customerId: after.customerId, row: after });
}

/** @type {import("#heddle").OnShopPublicCustomers} */
export function onShopPublicCustomers(change, key) {
  if (key === null) throw noKey();
  const { id } = key;
  const val = change
    ? { id, op: change.op, lsn: change.source.lsn, row: customerRow(change) }
    : { id, op: "d", lsn: null, row: null };
  emitOrdersByCustomer.sendWith({ tag: "customer-change", val }, `${id}`);
}

/** @type {import("#heddle").OnOrdersByCustomer} */
export function onOrdersByCustomer({ tag, val }) {
  if (tag === "order-change") orderChanged(val);
  else customerChanged(val);
}

function orderChanged({ id, customerId, row }) {
  const key = `${customerId}/${id}`;
  const before = storeOrdersOf.get(key);
  if (row) storeOrdersOf.put(key, row);
  else storeOrdersOf.delete(key);
  const customer = storeCustomers.get(`${customerId}`);
  if (!customer) return;
  if (row) emitOrdersJoined.sendWith(joined(row, customer), key);
  else if (before) emitOrdersJoined.delete(key);
}

function customerChanged({ id, op, lsn, row }) {
  const before = storeCustomers.get(`${id}`);
  if (before && isOld(op, lsn, before.lsn)) return;
  if (row) storeCustomers.put(`${id}`, row);
  else storeCustomers.delete(`${id}`);
  let page = storeOrdersOf.scan(`${id}/`, null, PAGE);
  while (page.length > 0) {
    for (const [key, order] of page) {
      if (row) emitOrdersJoined.sendWith(joined(order, row), key);
      else if (before) emitOrdersJoined.delete(key);
    }
    page = storeOrdersOf.scan(`${id}/`, page[page.length - 1][0], PAGE);
  }
}

/**
 * Returns true if the change was seen before: Debezium repeats changes after a restart. Rows of a snapshot (`r`) are
 * always taken, because a restored server starts from another position.
 */
const isOld = (op, lsn, seen) => op !== "r" && lsn !== null && lsn <= seen;

/** The failure of a change without a key: the table was truncated (`t`). One record cannot empty the stores of all partitions. */
const noKey = () => rejected("a change without a key");

const passOrderOn = (val) => emitOrdersByCustomer.sendWith({ tag: "order-change", val }, `${val.customerId}`);

/** The row after a change, or null after a delete. */
function orderRow({ after, source }) {
  if (after === null) return null;
  const { id, customerId, amount, currency, status, placedAt } = after;
  return { id, customerId, amount, currency, status, placedAt, lsn: source.lsn ?? 0n };
}

function customerRow({ after, source }) {
  return after && { name: after.name, email: after.email, lsn: source.lsn ?? 0n };
}

function joined({ id, customerId, amount, currency, status, placedAt }, { name, email }) {
  return { orderId: id, customerId, customer: name, email, amount, currency, status, placedAt };
}
