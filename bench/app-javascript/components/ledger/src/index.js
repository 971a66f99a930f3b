// Keeps what each customer has ordered so far, and tells when it comes to the next full 10,000: as its sibling in Rust does.

import { emitCustomersTier, emitOrdersStatus, rejected, storeAccounts } from "#heddle";

/** What a customer has to order for the next tier. */
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
