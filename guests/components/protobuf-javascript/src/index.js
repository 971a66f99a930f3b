// Counts orders in Protobuf, and passes each on as it came: like its sibling in Rust.

import { emitProtoOut, rejected, storeTallies } from "#heddle";

/** @type {import("#heddle").OnProtoIn} */
export function onProtoIn(order) {
  if (order.status.tag === "unrecognized" && order.status.val < 0) throw rejected("the status is negative");
  const tally = storeTallies.get("all") ?? { orders: 0n, units: 0n, ids: [] };
  tally.orders += 1n;
  tally.units += order.total?.units ?? 0n;
  tally.ids.push(order.id);
  storeTallies.put("all", tally);
  emitProtoOut.send({ number: tally.units, order });
}
