import unittest

from app import on_orders_by_customer, on_shop_public_customers, on_shop_public_orders
from heddle import contracts
from heddle.testing import TestHost


def source(table, lsn):
    """Where a change comes from, at a position of the server's log."""
    return contracts.Source(
        version="3.6.1.Final",
        connector="postgresql",
        name="shop",
        ts_ms=0,
        snapshot=None,
        db="shop",
        sequence=None,
        ts_us=None,
        ts_ns=None,
        schema="public",
        table=table,
        tx_id=None,
        lsn=lsn,
        xmin=None,
        origin=None,
        origin_lsn=None,
    )


class Join(unittest.TestCase):
    def setUp(self):
        self.host = TestHost()

    def deliver(self, handler, value, key):
        """Delivers a change, then what was passed on; the keys that this led to, with the customers' names or None for tombstones."""
        passed = self.host.deliver(handler, value, key=key)
        self.assertIsNone(passed.failure)
        emits = [emit for each in passed.emits for emit in self.host.deliver(on_orders_by_customer, each.value).emits]
        return [(emit.key, emit.value and emit.value.customer) for emit in emits]

    def order(self, customer_id, lsn):
        """The order 1 of a customer; of none if it was deleted."""
        row = None
        if customer_id is not None:
            row = contracts.ShopPublicOrdersValue(1, customer_id, "9.50", "EUR", "open", "2026-01-02T03:04:05.000006Z")
        op = "u" if row else "d"
        change = contracts.ShopPublicOrdersEnvelope(None, row, source("orders", lsn), None, op, None, None, None)
        return self.deliver(on_shop_public_orders, change, contracts.ShopPublicOrdersKey(1))

    def tombstone(self):
        return self.deliver(on_shop_public_orders, None, contracts.ShopPublicOrdersKey(1))

    def customer(self, id, name):
        row = contracts.ShopPublicCustomersValue(id, name, None)
        change = contracts.ShopPublicCustomersEnvelope(None, row, source("customers", 0), None, "r", None, None, None)
        return self.deliver(on_shop_public_customers, change, contracts.ShopPublicCustomersKey(id))

    def test_a_row_is_joined_when_both_sides_are_there(self):
        self.assertEqual(self.order(7, 10), [])
        self.assertEqual(self.customer(7, "Ada"), [("7/1", "Ada")])
        self.assertEqual(self.customer(7, "Ada L."), [("7/1", "Ada L.")])
        self.assertEqual(self.order(None, 11), [("7/1", None)])
        # What follows every delete; compaction may leave only this.
        self.assertEqual(self.tombstone(), [])

    def test_an_order_that_goes_to_another_customer_leaves_the_one_it_had(self):
        self.customer(7, "Ada")
        self.customer(8, "Bob")
        self.order(7, 10)
        self.assertEqual(self.order(8, 20), [("7/1", None), ("8/1", "Bob")])
        # Debezium sends some changes again after a restart.
        self.assertEqual(self.order(7, 10), [])
        self.assertEqual(self.tombstone(), [("8/1", None)])
