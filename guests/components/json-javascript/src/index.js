// Counts orders in JSON, and passes each on as it came: like its sibling in Rust.

import { emitJsonOut, rejected, storeSums } from "#heddle";

/** @type {import("#heddle").OnJsonIn} */
export function onJsonIn(order) {
  if (order.quantity < 0n) throw rejected("the quantity is negative");
  const sum = storeSums.get("all") ?? { orders: 0n, quantity: 0n, ids: [] };
  sum.orders += 1n;
  sum.quantity += order.quantity;
  sum.ids.push(order.id);
  storeSums.put("all", sum);
  emitJsonOut.send({ number: sum.quantity, order });
}
