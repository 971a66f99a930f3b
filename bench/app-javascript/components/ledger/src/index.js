// Keeps a running total of each customer's orders, and emits when it reaches another full 10,000, as the one in Rust.

import { emitCustomersTier, emitOrdersStatus, rejected, storeAccounts } from "#heddle";

/** The order value of a tier. */
const TIER = 10_000;

/** @type {import("#heddle").OnOrdersCreated} */
export function onOrdersCreated({ orderId, customerId, totalAmount, items }) {
  if (items.length === 0) throw rejected("the order has no items");
  const { orders, totalAmount: total } = storeAccounts.get(customerId) ?? { orders: 0n, totalAmount: 0 };
  const account = { orders: orders + 1n, totalAmount: total + totalAmount, lastOrderId: orderId };
  storeAccounts.put(customerId, account);
  const tier = Math.trunc(account.totalAmount / TIER);
  if (tier > Math.trunc(total / TIER)) emitCustomersTier.send({ customerId, tier, orderId });
  emitOrdersStatus.send({
    orderId,
    customerId,
    ordersOfCustomer: account.orders,
    totalOfCustomer: account.totalAmount,
  });
}
