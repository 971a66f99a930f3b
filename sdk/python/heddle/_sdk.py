"""The parts of every component: failures, context, log and random; and the base of emitters, stores and tables."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Generic, List, Optional, Sequence, Tuple, TypeVar

#: The current host: the real one in a component, a ``TestHost`` in a test.
_host: Any = None


def install(host: Any) -> Any:
    """Installs a host. Returns the former one."""
    global _host
    before, _host = _host, host
    return before


def _answering(what: str) -> Any:
    if _host is None:
        raise RuntimeError(f"{what} has no host outside of a handler; a test calls handlers through a TestHost of heddle.testing")
    return _host


class Failure(Exception):
    """The failure of a handler. Its emits and writes are dropped."""

    kind: str

    def __init__(self, reason: object) -> None:
        super().__init__(str(reason))

    @property
    def reason(self) -> str:
        return str(self)


class Rejected(Failure):
    """A failure that another attempt cannot fix: the record is dead-lettered at once."""

    kind = "rejected"


class Failed(Failure):
    """A failure that may pass: the component's failure policy decides if the record is tried again."""

    kind = "failed"


@dataclass
class Header:
    """A header of a record. Names may repeat; a value may be ``None``."""

    name: str
    value: Optional[bytes]


@dataclass
class Delivery:
    """One record that is passed to a handler."""

    id: str
    """The same for every attempt: ``<app>.<component>/<topic>/<partition>/<offset>``."""
    attempt: int
    """1 in the first attempt."""
    topic: str
    partition: int
    offset: int
    timestamp: int
    """Milliseconds since 1970-01-01T00:00:00Z. It is the only clock of a handler."""
    key: Optional[bytes]
    """The record's key in the log."""
    headers: List[Header]


class _Context:
    def current(self) -> Delivery:
        """The current delivery."""
        return _answering("context").current()


class _Log:
    """Writes lines to the host's log when the handler has ended: all lines if it succeeds, those of ``warn`` and
    ``error`` if it fails. The first 100 lines of a delivery and its last line are kept, of 8 KiB each. ``print`` writes
    there, too.

    Arguments are formatted into the message with ``%``, as in ``logging``.
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
    """Random numbers that are the same in every delivery of the same record. Their seed is the component, topic,
    partition and offset, not the attempt. They are not for secrets."""

    def next_u64(self) -> int:
        """The next 64 bits."""
        return _answering("random").next_u64()

    def bytes(self, length: int) -> bytes:
        """The next bytes, at most 65536 at a time."""
        return _answering("random").bytes(length)

    def range(self, start: int, end: int) -> int:
        """A uniformly distributed number from ``start`` to below ``end``."""
        if start >= end:
            raise ValueError("there is no number in an empty range")
        size = end - start
        # Numbers above the last whole multiple would make the first ones more likely, so they are drawn again.
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
        """Emits a value with headers, under the given key or, without one, under that of the record that is being
        handled."""
        _answering(self._name).send_with(self._name, value, key, list(headers))

    def delete(self, key: Key) -> None:
        """Emits a tombstone: a key without a value. In a compacted topic it deletes the key."""
        _answering(self._name).send_tombstone(self._name, key)


class Store(Generic[Key, Value]):
    """A store of the component. A handler reads its own writes, which are kept only if it succeeds."""

    def __init__(self, name: str) -> None:
        self._name = name

    def get(self, key: Key) -> Optional[Value]:
        """The value of a key, including writes of this handler."""
        return _answering(self._name).get(self._name, key)

    def put(self, key: Key, value: Value) -> None:
        _answering(self._name).put(self._name, key, value)

    def delete(self, key: Key) -> None:
        _answering(self._name).delete(self._name, key)


class ScannableStore(Store[Key, Value]):
    """A store with ordered keys."""

    def scan(self, prefix: Key, after: Optional[Key], limit: int) -> List[Tuple[Key, Value]]:
        """Returns at most ``limit`` entries whose keys begin with ``prefix``, in the order of the keys' bytes. With
        ``after``, returns only those with greater keys. They have at most 4 MiB together."""
        return _answering(self._name).scan(self._name, prefix, after, limit)


class Table(Generic[Key, Value]):
    """A table of the component: a read-only view of a compacted topic."""

    def __init__(self, name: str) -> None:
        self._name = name

    def get(self, key: Key) -> Optional[Value]:
        """The newest value of a key."""
        return _answering(self._name).get(self._name, key)


class ScannableTable(Table[Key, Value]):
    """A table with ordered keys."""

    def scan(self, prefix: Key, after: Optional[Key], limit: int) -> List[Tuple[Key, Value]]:
        """Returns at most ``limit`` entries whose keys begin with ``prefix``, in the order of the keys' bytes. With
        ``after``, returns only those with greater keys. They have at most 4 MiB together."""
        return _answering(self._name).scan(self._name, prefix, after, limit)
