"""Fails in a module other than the handler's."""

import json
import os
import sys

from heddle import Rejected


class Speechless(Exception):
    def __str__(self) -> str:
        raise TypeError("not even this")


class Refused(Rejected):
    def __str__(self) -> str:
        raise TypeError("no reason")


def deep(n: int) -> int:
    return deep(n + 1)


def chained(cause: bool) -> None:
    try:
        {}["a key"]
    except KeyError as error:
        if cause:
            raise RuntimeError("outer") from error
        raise RuntimeError("outer")


def fails(how: str) -> None:
    if how == "nested":
        raise ValueError("nested: ü € 🧵")
    elif how == "long":
        raise ValueError("long " * 1_000_000)
    elif how == "lines":
        raise ValueError("two\nlines, \x1b[2J and half a pair: \ud800")
    elif how == "empty":
        raise ValueError
    elif how == "speechless":
        raise Speechless
    elif how == "refused, badly":
        raise Refused("x")
    elif how == "exit":
        sys.exit(3)
    elif how == "hard exit":
        os._exit(3)
    elif how == "interrupt":
        raise KeyboardInterrupt
    elif how == "recursion":
        deep(0)
    elif how == "nested values":
        value: list = []
        for _ in range(100_000):
            value = [value]
        json.dumps(value)
    elif how == "cause":
        chained(True)
    elif how == "context":
        chained(False)
    elif how == "group":
        raise ExceptionGroup("many", [ValueError("one"), ValueError("two")])
    elif how == "in a library":
        json.loads("{")
    elif how == "assert":
        assert how == "", "assertions hold"
