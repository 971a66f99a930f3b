"""The guarantees of a TestHost for unit tests, shown with handlers that use every feature."""

import unittest
from dataclasses import replace

import made
from app import on_probe_keyed, on_probe_values
from heddle.contracts import Fact, Point, Probe
from heddle.testing import TestHost


def probe(do, n=1, text="", after=None, constructs=None):
    return Probe(do, n, text, after, constructs)


class Host(unittest.TestCase):
    def test_every_type_goes_through_and_back(self):
        outcome = TestHost().deliver(on_probe_values, probe("echo", constructs=made.constructs()))
        self.assertEqual(outcome.emits[0].value.constructs, made.constructs())

    def test_what_a_handler_wrote_is_there_for_the_next_one_unless_it_failed(self):
        host = TestHost()
        for text, long in [("b", 2), ("a", 1), ("ä", 3)]:
            host.deliver(on_probe_values, probe("put", text=text, constructs=replace(made.constructs(), long=long)))

        def scan(n=10, after=None):
            outcome = host.deliver(on_probe_values, probe("scan", n=n, after=after))
            return [(emit.value.text, emit.value.n) for emit in outcome.emits]

        self.assertEqual(scan(), [("a", 1), ("b", 2), ("ä", 3)])
        self.assertEqual(scan(1, "a"), [("b", 2)])
        outcome = host.deliver(on_probe_values, probe("reject", text="no"))
        self.assertEqual((outcome.emits, outcome.failure.kind, outcome.failure.reason), ([], "rejected", "no"))
        self.assertEqual([level for level, _ in outcome.log], ["info", "warn"])
        self.assertEqual((host.store("raw"), len(host.store("things"))), ({}, 3))

    def test_a_handler_sees_what_it_wrote_itself(self):
        outcome = TestHost().deliver(on_probe_values, probe("raw-keys", n=5))
        found = [(emit.value.text, emit.value.n) for emit in outcome.emits]
        self.assertEqual(found, [("[0]", 1), ("[0,255]", 5), ("", -1)])

    def test_a_table_has_what_a_test_has_filled_it_with(self):
        host = TestHost()
        host.fill("facts", "b", Fact(2, "two"))
        host.fill("facts", "a", Fact(1, None))
        host.fill("facts", "c", Fact(3, None))
        host.fill("facts", "c", None)
        host.fill("named", Point(7, 0.5), b"\0\xff")

        def look(do, text="", n=1):
            outcome = host.deliver(on_probe_values, probe(do, n=n, text=text))
            return [(emit.value.text, emit.value.n) for emit in outcome.emits]

        self.assertEqual(look("fact", "b"), [("two", 2)])
        self.assertEqual(look("fact", "c"), [("", -1)])
        self.assertEqual(look("facts", n=10), [("a", 1), ("b", 2)])
        self.assertEqual((look("named", n=7), look("named", n=8)), ([("[0,255]", 2)], [("", -1)]))
        with self.assertRaisesRegex(ValueError, "others is not a table of this component"):
            host.fill("others", "a", None)

    def test_what_does_not_fit_its_type_is_told_with_its_place(self):
        wrong = replace(made.constructs(), points=[Point("1", None)])
        with self.assertRaisesRegex(TypeError, r"at the value\.constructs\.points\[0\]\.x: int is expected, not str"):
            TestHost().deliver(on_probe_values, probe("put", constructs=wrong))

    def test_what_is_no_failure_is_raised_on(self):
        with self.assertRaisesRegex(RuntimeError, "as asked"):
            TestHost().deliver(on_probe_values, probe("trap"))

    def test_the_context_keys_and_random_numbers_are_those_that_the_test_gives(self):
        host = TestHost()

        def context():
            outcome = host.deliver(on_probe_values, probe("context"), key="k", timestamp=5, attempt=2)
            return outcome.emits[0].value.text

        self.assertEqual(context(), "probe.values/0/0 2 probe.values 0 0 5 [107] ")
        self.assertEqual(context(), "probe.values/0/1 2 probe.values 0 1 5 [107] ")

        def random(offset):
            return host.deliver(on_probe_values, probe("random"), offset=offset).emits[0].value.text

        self.assertEqual(random(7), random(7))
        self.assertNotEqual(random(7), random(8))
        outcome = host.deliver(on_probe_keyed, b"\1", typed_key=Point(1, 2.0))
        self.assertEqual([emit.key for emit in outcome.emits], [None, Point(2, 4.0)])
        outcome = host.deliver(on_probe_keyed, None, key=Point(1, 2.0))
        self.assertEqual([emit.key for emit in outcome.emits], [Point(1, 2.0), "own kéy", b"\0\xff"])
        self.assertEqual([emit.value for emit in outcome.emits], [None, None, None])


if __name__ == "__main__":
    unittest.main()
