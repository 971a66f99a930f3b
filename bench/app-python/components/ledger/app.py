"""Keeps what each customer has ordered so far, and reports each full 10,000, like its sibling in Rust."""

from heddle import Rejected, emit_customers_tier, emit_orders_status, store_accounts
from heddle.contracts import Account, OrderCreated, OrderStatus, TierReached

#: The order value of a tier.
TIER = 10_000


def on_orders_created(order: OrderCreated) -> None:
    if not order.items:
        raise Rejected("the order has no items")
    before = store_accounts.get(order.customer_id) or Account(0, 0.0, "")
    account = Account(before.orders + 1, before.total_amount + order.total_amount, order.order_id)
    store_accounts.put(order.customer_id, account)
    tier = int(account.total_amount / TIER)
    if tier > int(before.total_amount / TIER):
        emit_customers_tier.send(TierReached(order.customer_id, tier, order.order_id))
    emit_orders_status.send(OrderStatus(order.order_id, order.customer_id, account.orders, account.total_amount))
