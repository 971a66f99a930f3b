"""What every component has, whatever its contract: failures, the context, log, random; and what emitters and stores are made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Generic, List, Optional, Sequence, Tuple, TypeVar

#: What answers: in a component the host, in a test a ``TestHost``.
_host: Any = None


def install(host: Any) -> Any:
    """Puts a host in place; returns the one before."""
    global _host
    before, _host = _host, host
    return before


def _answering(what: str) -> Any:
    if _host is None:
        raise RuntimeError(f"{what} has no host outside of a handler; a test calls handlers through a TestHost of heddle.testing")
    return _host


class Failure(Exception):
    """Why a handler could not do its work. Nothing it emitted or wrote is kept."""

    kind: str

    def __init__(self, reason: object) -> None:
        super().__init__(str(reason))

    @property
    def reason(self) -> str:
        return str(self)


class Rejected(Failure):
    """Trying again cannot cure it: the record is set aside in the dead-letter topic at once."""

    kind = "rejected"


class Failed(Failure):
    """It may pass: the component's failure policy decides whether to try again."""

    kind = "failed"


@dataclass
class Header:
    """A header of a record. Names may repeat; a value may be ``None``."""

    name: str
    value: Optional[bytes]


@dataclass
class Delivery:
    """One record on its way to a handler."""

    id: str
    """The same for every attempt: ``<app>.<component>/<topic>/<partition>/<offset>``."""
    attempt: int
    """1 for the first try."""
    topic: str
    partition: int
    offset: int
    timestamp: int
    """Milliseconds since 1970-01-01T00:00:00Z: the only clock a handler has."""
    key: Optional[bytes]
    """The record's key as it is in the log."""
    headers: List[Header]


class _Context:
    def current(self) -> Delivery:
        """The delivery under way."""
        return _answering("context").current()


class _Log:
    """Lines for the host's log, told when the handler is done: all of them if it succeeds; if it fails, those of ``warn`` and
    ``error``. The first 100 of a delivery are kept and the last one, of 8 KiB each. ``print`` writes there, too.

    Arguments are put into the message by ``%``, as ``logging`` does.
    """

    def trace(self, message: object, *arguments: object) -> None:
        self._write("trace", message, arguments)

    def debug(self, message: object, *arguments: object) -> None:
        self._write("debug", message, arguments)

    def info(self, message: object, *arguments: object) -> None:
        self._write("info", message, arguments)

    def warn(self, message: object, *arguments: object) -> None:
        self._write("warn", message, arguments)

    def error(self, message: object, *arguments: object) -> None:
        self._write("error", message, arguments)

    def _write(self, level: str, message: object, arguments: Tuple[object, ...]) -> None:
        text = str(message) % arguments if arguments else str(message)
        _answering("log").log(level, text)


_U64_MAX = 2**64 - 1


class _Random:
    """Numbers that look random and are the same whenever the same record is handled: seeded by component, topic, partition and
    offset, not by the attempt. Not for secrets."""

    def next_u64(self) -> int:
        """The next 64 bits."""
        return _answering("random").next_u64()

    def bytes(self, length: int) -> bytes:
        """The next bytes, at most 65536 at a time."""
        return _answering("random").bytes(length)

    def range(self, start: int, end: int) -> int:
        """A number from ``start`` on and below ``end``, each as likely as any other."""
        if start >= end:
            raise ValueError("there is no number in an empty range")
        size = end - start
        # What is left above the last whole multiple would make the first numbers likelier: draw again.
        whole = _U64_MAX - _U64_MAX % size
        while True:
            number = self.next_u64()
            if number < whole:
                return start + number % size


context = _Context()
log = _Log()
random = _Random()

Value = TypeVar("Value")
Key = TypeVar("Key")


class Emitter(Generic[Value, Key]):
    """Emits to one topic."""

    def __init__(self, name: str) -> None:
        self._name = name

    def send(self, value: Value) -> None:
        """Emits a value under the key of the record that is being handled."""
        _answering(self._name).send(self._name, value)

    def send_with(self, value: Value, key: Optional[Key] = None, headers: Sequence[Header] = ()) -> None:
        """Emits a value under a key of its own, if one is given, and with headers."""
        _answering(self._name).send_with(self._name, value, key, list(headers))

    def delete(self, key: Key) -> None:
        """Emits a tombstone: a key without a value. In a compacted topic it deletes the key."""
        _answering(self._name).send_tombstone(self._name, key)


class Store(Generic[Key, Value]):
    """A store of the component. A handler sees what it wrote; it is kept only if the handler succeeds."""

    def __init__(self, name: str) -> None:
        self._name = name

    def get(self, key: Key) -> Optional[Value]:
        """The value of a key, with what this handler wrote so far."""
        return _answering(self._name).get(self._name, key)

    def put(self, key: Key, value: Value) -> None:
        _answering(self._name).put(self._name, key, value)

    def delete(self, key: Key) -> None:
        _answering(self._name).delete(self._name, key)


class ScannableStore(Store[Key, Value]):
    """A store whose keys have an order."""

    def scan(self, prefix: Key, after: Optional[Key], limit: int) -> List[Tuple[Key, Value]]:
        """The entries whose keys begin with ``prefix``, in the order of the keys' bytes, at most ``limit``; with ``after``, only
        those whose keys are greater. At most 4 MiB together."""
        return _answering(self._name).scan(self._name, prefix, after, limit)
