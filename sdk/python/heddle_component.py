"""The host's side in a component; tests do not use it."""

import os
import sys

import heddle_ambient
import heddle_uncaught
import heddle_values
from componentize_py_types import Err
from wit_world.imports import context, log, random, types

from heddle import _sdk
from heddle_values import checked

_LINE_CHARS_MAX = 8192
_LEVELS = {level.name.lower(): level for level in log.Level}


class Host:
    """The host. ``interfaces`` has the component's emitters, stores and tables by name, and ``values`` the checks of their
    values and keys."""

    def __init__(self, interfaces, values):
        self._interfaces = interfaces
        self._values = values

    def current(self):
        return context.current()

    def log(self, level, message):
        log.write(_LEVELS[level], heddle_uncaught.text(message))

    def next_u64(self):
        return random.next_u64()

    def bytes(self, length):
        checked(heddle_values.u32, length, "the length")
        return random.bytes(length)

    def send(self, name, value):
        checked(self._values[name][0], value, "the value")
        self._interfaces[name].send(value)

    def send_with(self, name, value, key, headers):
        value_check, key_check = self._values[name]
        checked(value_check, value, "the value")
        checked(heddle_values.optional(key_check), key, "the key")
        checked(heddle_values.headers, headers, "the headers")
        self._interfaces[name].send_with(value, key, headers)

    def send_tombstone(self, name, key):
        checked(self._values[name][1], key, "the key")
        self._interfaces[name].delete(key)

    def get(self, name, key):
        checked(self._values[name][1], key, "the key")
        return self._interfaces[name].get(key)

    def put(self, name, key, value):
        value_check, key_check = self._values[name]
        checked(key_check, key, "the key")
        checked(value_check, value, "the value")
        self._interfaces[name].put(key, value)

    def delete(self, name, key):
        checked(self._values[name][1], key, "the key")
        self._interfaces[name].delete(key)

    def scan(self, name, prefix, after, limit):
        key_check = self._values[name][1]
        checked(key_check, prefix, "the prefix")
        checked(heddle_values.optional(key_check), after, "the key to begin after")
        checked(heddle_values.u32, limit, "the limit")
        return self._interfaces[name].scan(prefix, after, limit)


class _Lines:
    """Standard output and error, which become log lines. A line is written when it ends, or when the handler does."""

    encoding = "utf-8"
    errors = "backslashreplace"

    def __init__(self, write):
        self._write = write
        self._begun = ""

    def write(self, text):
        *lines, begun = (self._begun + text).split("\n")
        for line in lines:
            self._write(line)
        # The host does not keep more of a line.
        self._begun = begun[:_LINE_CHARS_MAX]
        return len(text)

    def writelines(self, lines):
        for line in lines:
            self.write(line)

    def flush(self):
        """Does nothing: a line may be flushed before it ends."""

    def isatty(self):
        return False

    def end(self):
        """Writes the unfinished line."""
        if self._begun:
            self.write("\n")


def start(interfaces, values):
    """Installs the host."""
    _sdk.install(Host(interfaces, values))
    sys.stdout, sys.stderr = _OUTPUTS
    heddle_ambient.start()


def handle(handler, *arguments):
    """Calls a handler. An exception that is not a ``Failure`` is a trap, reported with its place."""
    heddle_ambient.begin(context.current)
    try:
        try:
            handler(*arguments)
            answer = None
        except _sdk.Failure as failure:
            answer = _answer(failure)
        for output in _OUTPUTS:
            output.end()
    except BaseException as error:
        _end(error)
    if answer is not None:
        raise answer


def _answer(failure):
    rejected = getattr(failure, "kind", "failed") == "rejected"
    case = types.Failure_Rejected if rejected else types.Failure_Failed
    return Err(case(heddle_uncaught.text(failure.reason)))


def _end(error):
    """Reports an exception and ends the instance. If it were raised, the tool would print it as the last message."""
    try:
        try:
            for output in _OUTPUTS:
                output.end()
            for line in heddle_uncaught.lines(error):
                _sdk.log.warn("%s", line)
        finally:
            _sdk.log.error("%s", heddle_uncaught.describe(error))
    finally:
        os.abort()


_OUTPUTS = _Lines(lambda line: _sdk.log.info("%s", line)), _Lines(lambda line: _sdk.log.warn("%s", line))
