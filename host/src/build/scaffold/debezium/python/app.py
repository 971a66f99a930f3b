"""Joins orders with their customers: two tables, as Debezium writes what changes in them.

    shop.public.orders ----> store orders --+
                                            +--> orders.by-customer --> stores customers, orders-of --> orders.joined
    shop.public.customers ------------------+

The topic of a table is partitioned by the table's own key. What is joined has to be in one partition, so the changes of
both tables go through a topic whose key is the customer's.
"""

from typing import Optional

from heddle import (
    Rejected,
    contracts,
    emit_orders_by_customer,
    emit_orders_joined,
    store_customers,
    store_orders,
    store_orders_of,
)
from heddle.contracts import CustomerChange, CustomerRow, OrderChange, OrderRow, OrderWithCustomer

#: The number of orders that are read at a time.
PAGE = 100


def on_shop_public_orders(
    change: Optional[contracts.ShopPublicOrdersEnvelope], key: Optional[contracts.ShopPublicOrdersKey]
) -> None:
    if key is None:
        raise no_key()
    before = store_orders.get(str(key.id))
    if before and change and is_old(change.op, change.source.lsn, before.lsn):
        return
    # A tombstone has no change: the row is deleted.
    after = order_row(change) if change else None
    if after:
        store_orders.put(str(key.id), after)
    else:
        store_orders.delete(str(key.id))
    # A row that is deleted, or goes to another customer, leaves the customer it had.
    if before and (after is None or after.customer_id != before.customer_id):
        pass_order_on(OrderChange(key.id, before.customer_id, None))
    if after:
        pass_order_on(OrderChange(key.id, after.customer_id, after))


def on_shop_public_customers(
    change: Optional[contracts.ShopPublicCustomersEnvelope], key: Optional[contracts.ShopPublicCustomersKey]
) -> None:
    if key is None:
        raise no_key()
    if change:
        passed = CustomerChange(key.id, change.op, change.source.lsn, customer_row(change))
    else:
        passed = CustomerChange(key.id, "d", None, None)
    emit_orders_by_customer.send_with(contracts.OrdersByCustomerValue_CustomerChange(passed), str(key.id))


def on_orders_by_customer(change: contracts.OrdersByCustomerValue) -> None:
    if isinstance(change, contracts.OrdersByCustomerValue_OrderChange):
        order_changed(change.value)
    else:
        customer_changed(change.value)


def order_changed(change: OrderChange) -> None:
    key = f"{change.customer_id}/{change.id}"
    before = store_orders_of.get(key)
    if change.row:
        store_orders_of.put(key, change.row)
    else:
        store_orders_of.delete(key)
    customer = store_customers.get(str(change.customer_id))
    if customer and change.row:
        emit_orders_joined.send_with(joined(change.row, customer), key)
    elif customer and before:
        emit_orders_joined.delete(key)


def customer_changed(change: CustomerChange) -> None:
    before = store_customers.get(str(change.id))
    if before and is_old(change.op, change.lsn, before.lsn):
        return
    if change.row:
        store_customers.put(str(change.id), change.row)
    else:
        store_customers.delete(str(change.id))
    page = store_orders_of.scan(f"{change.id}/", None, PAGE)
    while page:
        for key, order in page:
            if change.row:
                emit_orders_joined.send_with(joined(order, change.row), key)
            elif before:
                emit_orders_joined.delete(key)
        page = store_orders_of.scan(f"{change.id}/", page[-1][0], PAGE)


def is_old(op: str, lsn: Optional[int], seen: int) -> bool:
    """Returns true if the change was seen before: Debezium repeats changes after a restart. Rows of a snapshot (``r``) are
    always taken, because a restored server starts from another position."""
    return op != "r" and lsn is not None and lsn <= seen


def no_key() -> Rejected:
    """The failure of a change without a key: the table was truncated (``t``). One record cannot empty the stores of all
    partitions."""
    return Rejected("a change without a key")


def pass_order_on(change: OrderChange) -> None:
    emit_orders_by_customer.send_with(contracts.OrdersByCustomerValue_OrderChange(change), str(change.customer_id))


def order_row(change: contracts.ShopPublicOrdersEnvelope) -> Optional[OrderRow]:
    """The row after a change, or None after a delete."""
    row = change.after
    if row is None:
        return None
    return OrderRow(
        id=row.id,
        customer_id=row.customer_id,
        amount=row.amount,
        currency=row.currency,
        status=row.status,
        placed_at=row.placed_at,
        lsn=change.source.lsn or 0,
    )


def customer_row(change: contracts.ShopPublicCustomersEnvelope) -> Optional[CustomerRow]:
    row = change.after
    return CustomerRow(name=row.name, email=row.email, lsn=change.source.lsn or 0) if row else None


def joined(order: OrderRow, customer: CustomerRow) -> OrderWithCustomer:
    return OrderWithCustomer(
        order_id=order.id,
        customer_id=order.customer_id,
        customer=customer.name,
        email=customer.email,
        amount=order.amount,
        currency=order.currency,
        status=order.status,
        placed_at=order.placed_at,
    )
