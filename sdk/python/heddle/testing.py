"""A host for unit tests: runs handlers natively, with emits, stores, log and random numbers in memory."""

from __future__ import annotations

import copy
import enum
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any, Callable, Dict, Iterator, List, Optional, Tuple, Union, get_args, get_origin, get_type_hints

from . import _sdk, _world
from ._sdk import Delivery, Failure, Header


@dataclass
class Emit:
    """An emitted record."""

    topic: str
    value: Any
    """``None`` in a tombstone."""
    key: Any = None
    headers: List[Header] = field(default_factory=list)


@dataclass
class Outcome:
    """The outcome of a delivery."""

    emits: List[Emit]
    """The emitted records, in order; none if the handler failed."""
    failure: Optional[Failure]
    """The failure of the handler, if it failed."""
    log: List[Tuple[str, str]]
    """The level and message of each line."""


def _check(value: Any, ty: Any, path: str) -> None:
    """Raises a TypeError with the place where a value does not fit its type. In a component, the host would refuse
    it."""
    origin, arguments = get_origin(ty), get_args(ty)
    if origin is Union:
        if value is None and type(None) in arguments:
            return
        candidates = [argument for argument in arguments if argument is not type(None)]
        if len(candidates) > 1:
            candidates = [case for case in candidates if isinstance(value, case)] or [candidates[0]]
        _check(value, candidates[0], path)
    elif origin is list:
        _instance(value, list, path)
        for index, item in enumerate(value):
            _check(item, arguments[0], f"{path}[{index}]")
    elif origin is tuple:
        _instance(value, tuple, path)
        for index, (item, argument) in enumerate(zip(value, arguments)):
            _check(item, argument, f"{path}[{index}]")
    elif is_dataclass(ty):
        _instance(value, ty, path)
        hints = get_type_hints(ty)
        for part in fields(value):
            _check(getattr(value, part.name), hints[part.name], f"{path}.{part.name}")
    elif ty is float:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise TypeError(f"at {path}: float is expected, not {type(value).__name__}")
    else:
        _instance(value, ty, path)


def _instance(value: Any, ty: Any, path: str) -> None:
    right = isinstance(value, ty) and not (ty is int and isinstance(value, bool))
    if not right:
        raise TypeError(f"at {path}: {ty.__name__} is expected, not {type(value).__name__}")


def _frozen(key: Any) -> Any:
    """The form of a key in a dict."""
    return key if isinstance(key, (str, bytes, enum.Enum)) else repr(key)


def _bytes(key: Any) -> bytes:
    return key.encode() if isinstance(key, str) else key


def _bits(seed: int) -> Iterator[int]:
    """Random bits from a seed (splitmix64). They differ from those of a host, but are the same in every run."""
    mask = 2**64 - 1
    state = seed & mask
    while True:
        state = (state + 0x9E3779B97F4A7C15) & mask
        bits = state
        bits = ((bits ^ (bits >> 30)) * 0xBF58476D1CE4E5B9) & mask
        bits = ((bits ^ (bits >> 27)) * 0x94D049BB133111EB) & mask
        yield bits ^ (bits >> 31)


class TestHost:
    """A separate partition of the component. Successful writes to stores are visible in the next delivery."""

    __test__ = False  # pytest: this is not a test

    def __init__(self) -> None:
        self._committed: Dict[str, Dict[Any, Tuple[Any, Any]]] = {}
        self._written: Dict[str, Dict[Any, Tuple[Any, Any]]] = {}
        self._tables: Dict[str, Dict[Any, Tuple[Any, Any]]] = {}
        self._offset = -1
        self._delivery: Optional[Delivery] = None
        self._drawn = _bits(0)
        self._emits: List[Emit] = []
        self._lines: List[Tuple[str, str]] = []

    def deliver(
        self,
        handler: Callable[..., None],
        value: Any,
        *,
        key: Any = None,
        typed_key: Any = None,
        headers: Optional[List[Header]] = None,
        timestamp: int = 0,
        attempt: int = 1,
        offset: Optional[int] = None,
    ) -> Outcome:
        """Calls a handler as the host does. Any exception that is not a ``Failure`` is raised; in a component, it is a
        trap.

        ``key`` is the record's key: text or bytes, or a value of the key's type if the contract types keys.
        ``typed_key`` is the key that the handler gets if ``key`` is the one in ``context``.
        """
        known = _world.HANDLERS.get(handler.__name__)
        if known is None:
            names = ", ".join(_world.HANDLERS)
            raise ValueError(f"{handler.__name__} is not a handler of this component: those are {names}")
        topic, value_type, key_type = known
        _check(value, value_type, "the value")
        self._offset = self._offset + 1 if offset is None else offset
        if key_type is not None:
            typed_key = key if typed_key is None else typed_key
            _check(typed_key, Optional[key_type], "the key")
        # The bytes of a typed key in the log depend on its schema's id in the registry, so they are not known here.
        raw_key = key.encode() if isinstance(key, str) else key if isinstance(key, bytes) else None
        place = f"test.component/{topic}/0/{self._offset}"
        self._delivery = Delivery(place, attempt, topic, 0, self._offset, timestamp, raw_key, headers or [])
        self._drawn = _bits(self._offset)
        self._emits, self._lines, self._written = [], [], {}
        before = _sdk.install(self)
        failure: Optional[Failure] = None
        try:
            arguments = [value] if key_type is None else [value, typed_key]
            handler(*copy.deepcopy(arguments))
        except Failure as why:
            failure = why
        finally:
            _sdk.install(before)
        if failure is None:
            self._commit()
        return Outcome(self._emits if failure is None else [], failure, self._lines)

    def store(self, name: str) -> Dict[Any, Any]:
        """The committed entries of a store. Typed keys are represented by their text."""
        entries = self._committed.get("store_" + name.replace("-", "_"), {})
        return {frozen: value for frozen, (_, value) in entries.items()}

    def fill(self, table: str, key: Any, value: Any) -> None:
        """Sets an entry of a table, or deletes it with ``None``, as a record of its topic does."""
        name = "table_" + table.replace("-", "_")
        if name not in _world.TABLES:
            raise ValueError(f"{table} is not a table of this component")
        key_type, value_type = _world.TABLES[name]
        _check(key, key_type, "the key")
        entries = self._tables.setdefault(name, {})
        if value is None:
            entries.pop(_frozen(key), None)
        else:
            _check(value, value_type, "the value")
            entries[_frozen(key)] = (copy.deepcopy(key), copy.deepcopy(value))

    def _commit(self) -> None:
        for name, written in self._written.items():
            entries = self._committed.setdefault(name, {})
            for frozen, (key, value) in written.items():
                if value is None:
                    entries.pop(frozen, None)
                else:
                    entries[frozen] = (key, value)

    # The interface of a host for the SDK.

    def current(self) -> Delivery:
        assert self._delivery is not None
        return copy.deepcopy(self._delivery)

    def log(self, level: str, message: str) -> None:
        self._lines.append((level, message))

    def next_u64(self) -> int:
        return next(self._drawn)

    def bytes(self, length: int) -> bytes:
        return bytes(next(self._drawn) & 0xFF for _ in range(length))

    def send(self, name: str, value: Any) -> None:
        self.send_with(name, value, None, [])

    def send_with(self, name: str, value: Any, key: Any, headers: List[Header]) -> None:
        topic, value_type, key_type = _world.EMITTERS[name]
        _check(value, value_type, "the value")
        _check(key, Optional[key_type], "the key")
        self._emits.append(Emit(topic, copy.deepcopy(value), copy.deepcopy(key), list(headers)))

    def send_tombstone(self, name: str, key: Any) -> None:
        topic, _, key_type = _world.EMITTERS[name]
        _check(key, key_type, "the key")
        self._emits.append(Emit(topic, None, copy.deepcopy(key)))

    def _entries(self, name: str) -> Dict[Any, Tuple[Any, Any]]:
        if name in _world.TABLES:
            return self._tables.get(name, {})
        entries = {**self._committed.get(name, {}), **self._written.get(name, {})}
        return {frozen: entry for frozen, entry in entries.items() if entry[1] is not None}

    def get(self, name: str, key: Any) -> Any:
        key_type = (_world.STORES.get(name) or _world.TABLES[name])[0]
        _check(key, key_type, "the key")
        return copy.deepcopy(self._entries(name).get(_frozen(key), (None, None))[1])

    def put(self, name: str, key: Any, value: Any) -> None:
        key_type, value_type = _world.STORES[name]
        _check(key, key_type, "the key")
        _check(value, value_type, "the value")
        self._written.setdefault(name, {})[_frozen(key)] = (copy.deepcopy(key), copy.deepcopy(value))

    def delete(self, name: str, key: Any) -> None:
        _check(key, _world.STORES[name][0], "the key")
        self._written.setdefault(name, {})[_frozen(key)] = (key, None)

    def scan(self, name: str, prefix: Any, after: Any, limit: int) -> List[Tuple[Any, Any]]:
        first, last = _bytes(prefix), None if after is None else _bytes(after)
        found = [
            (key, copy.deepcopy(value))
            for key, value in self._entries(name).values()
            if _bytes(key).startswith(first) and (last is None or _bytes(key) > last)
        ]
        return sorted(found, key=lambda entry: _bytes(entry[0]))[:limit]
