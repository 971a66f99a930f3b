"""Counts orders in Protobuf, and passes each on as it came: like its sibling in Rust."""

from heddle import Rejected, emit_proto_out, store_tallies
from heddle.contracts import Order, Receipt, Status_Unrecognized, Tally


def on_proto_in(order: Order) -> None:
    if isinstance(order.status, Status_Unrecognized) and order.status.value < 0:
        raise Rejected("the status is negative")
    before = store_tallies.get("all") or Tally(0, 0, [])
    units = before.units + (order.total.units if order.total else 0)
    store_tallies.put("all", Tally(before.orders + 1, units, [*before.ids, order.id]))
    emit_proto_out.send(Receipt(units, order))
