"""Counts orders in JSON, and passes each on as it came: like its sibling in Rust."""

from heddle import Rejected, emit_json_out, store_sums
from heddle.contracts import Order, Receipt, Sum


def on_json_in(order: Order) -> None:
    if order.quantity < 0:
        raise Rejected("the quantity is negative")
    before = store_sums.get("all") or Sum(0, 0, [])
    quantity = before.quantity + order.quantity
    store_sums.put("all", Sum(before.orders + 1, quantity, [*before.ids, order.id]))
    emit_json_out.send(Receipt(quantity, order))
