"""A component's side of the host: only in a component, never in a test."""

import sys
import traceback

from componentize_py_types import Err
from wit_world.imports import context, log, random, types

from heddle import _sdk

_LEVELS = {level.name.lower(): level for level in log.Level}


class Host:
    """The host. ``interfaces`` are the component's emitters and stores, by their names."""

    def __init__(self, interfaces):
        self._interfaces = interfaces

    def current(self):
        return context.current()

    def log(self, level, message):
        log.write(_LEVELS[level], message)

    def next_u64(self):
        return random.next_u64()

    def bytes(self, length):
        return random.bytes(length)

    def send(self, name, value):
        self._interfaces[name].send(value)

    def send_with(self, name, value, key, headers):
        self._interfaces[name].send_with(value, key, headers)

    def get(self, name, key):
        return self._interfaces[name].get(key)

    def put(self, name, key, value):
        self._interfaces[name].put(key, value)

    def delete(self, name, key):
        self._interfaces[name].delete(key)

    def scan(self, name, prefix, after, limit):
        return self._interfaces[name].scan(prefix, after, limit)


class _Lines:
    """Standard output and error: lines of the log."""

    def __init__(self, write):
        self._write = write

    def write(self, text):
        for line in text.rstrip("\n").splitlines():
            self._write(line)
        return len(text)

    def flush(self):
        pass


def start(interfaces):
    """Puts the host in place."""
    _sdk.install(Host(interfaces))
    sys.stdout, sys.stderr = _Lines(_sdk.log.info), _Lines(_sdk.log.warn)


def handle(handler, *arguments):
    """Calls a handler. What it raises and is no ``Failure`` is a trap, told with its place."""
    chance = sys.modules.get("random")
    if chance is not None:
        # Python's own random numbers come from the record, too: a delivery that is handled again ends the same way.
        delivery = context.current()
        chance.seed((delivery.offset << 32) ^ delivery.partition)
    try:
        handler(*arguments)
    except _sdk.Failure as failure:
        case = types.Failure_Rejected if failure.kind == "rejected" else types.Failure_Failed
        raise Err(case(failure.reason)) from None
    except BaseException as error:
        place = traceback.extract_tb(error.__traceback__)[-1]
        _sdk.log.error("uncaught %s: %s at %s:%s", type(error).__name__, error, place.filename, place.lineno)
        raise
