"""Checks values before the build tool's code lowers them. That code traps on a value of another type, without a message
or a place.

A check accepts all that the tool accepts, such as a subclass, or an integer in place of a float.
"""

import operator


class Wrong(Exception):
    """An error about a value that does not fit. The path grows on the way out."""

    def __init__(self, what):
        super().__init__(what)
        self.path = ""

    def below(self, part):
        self.path = part + self.path
        return self


def _kind(value):
    return type(value).__name__


def checked(check, value, what):
    """Raises a TypeError with the place where a value does not fit."""
    try:
        check(value)
    except Wrong as wrong:
        raise TypeError(f"at {what}{wrong.path}: {wrong}") from None


def anything(value):
    """Accepts any value as a flag, because the tool uses its truth value."""


def _integer(least, most):
    def check(value):
        if type(value) is not int:
            try:
                value = operator.index(value)
            except TypeError:
                raise Wrong(f"int is expected, not {_kind(value)}") from None
        if not least <= value <= most:
            raise Wrong(f"an int from {least} to {most} is expected")

    return check


s32 = _integer(-(2**31), 2**31 - 1)
s64 = _integer(-(2**63), 2**63 - 1)
u32 = _integer(0, 2**32 - 1)
u64 = _integer(0, 2**64 - 1)


def real(value):
    if type(value) is float or type(value) is int and abs(value) < 2**1023:
        return
    if isinstance(value, (str, bytes, bytearray)):
        raise Wrong(f"float is expected, not {_kind(value)}")
    try:
        float(value)
    except (TypeError, OverflowError) as why:
        raise Wrong(f"float is expected, not {_kind(value)}: {why}") from None


# From here on, a number becomes infinite as a float of 32 bits.
_SINGLE_MAX = float.fromhex("0x1.ffffffp+127")


def single(value):
    real(value)
    if _SINGLE_MAX <= abs(float(value)) < float("inf"):
        raise Wrong("a float of 32 bits is expected, the number is too large")


def text(value):
    if not isinstance(value, str):
        raise Wrong(f"str is expected, not {_kind(value)}")
    if not str.isascii(value):
        try:
            str.encode(value)
        except UnicodeEncodeError as why:
            raise Wrong(f"text in Unicode is expected: {why.reason} at {why.start}") from None


def octets(value):
    if not isinstance(value, bytes):
        raise Wrong(f"bytes is expected, not {_kind(value)}")


def sequence(item):
    def check(value):
        if not isinstance(value, list):
            raise Wrong(f"list is expected, not {_kind(value)}")
        for index, each in enumerate(value):
            try:
                item(each)
            except Wrong as wrong:
                raise wrong.below(f"[{index}]")

    return check


def group(*items):
    def check(value):
        if not isinstance(value, tuple) or len(value) < len(items):
            raise Wrong(f"a tuple of {len(items)} is expected, not {_kind(value)}")
        for index, item in enumerate(items):
            try:
                item(value[index])
            except Wrong as wrong:
                raise wrong.below(f"[{index}]")

    return check


def optional(some):
    def check(value):
        if value is not None:
            some(value)

    return check


def record(name, fields):
    pairs = tuple(fields.items())

    def check(value):
        field = ""
        try:
            for field, item in pairs:
                item(getattr(value, field))
        except AttributeError:
            raise Wrong(f"{name} is expected, not {_kind(value)}") from None
        except Wrong as wrong:
            raise wrong.below(f".{field}")

    return check


def enumeration(name, count):
    def check(value):
        number = getattr(value, "value", None)
        if not isinstance(number, int) or not 0 <= number < count:
            raise Wrong(f"{name} is expected, not {_kind(value)}")

    return check


def variant(name, cases):
    """``cases`` has a check for each class; ``None`` for a case without a value."""

    def check(value):
        try:
            item = cases[type(value)]
        except KeyError:
            names = ", ".join(case.__name__ for case in cases)
            raise Wrong(f"{name} is expected ({names}), not {_kind(value)}") from None
        if item is not None:
            try:
                item(value.value)
            except Wrong as wrong:
                raise wrong.below(".value")

    return check


#: The check of the headers of an emit.
headers = sequence(record("Header", {"name": text, "value": optional(octets)}))
