"""Acts as its input says, like its sibling in Rust."""

from dataclasses import replace
from typing import Optional

import made
from heddle import (
    Failed,
    Header,
    Rejected,
    context,
    emit_probe_keyed_out,
    emit_probe_raw_out,
    emit_probe_values_out,
    log,
    random,
    store_raw,
    store_things,
    store_typed,
    table_facts,
    table_named,
)
from heddle.contracts import Constructs, Point, Probe, Probed


def emit(did: str, n: int, text: str) -> None:
    emit_probe_values_out.send(Probed(did, n, text, None))


def emit_constructs(did: str, constructs: Optional[Constructs]) -> None:
    emit_probe_values_out.send(Probed(did, 0, "", constructs))


def listed(numbers) -> str:
    return "[" + ",".join(map(str, numbers)) + "]"


def point(x: int) -> Point:
    return Point(x, 0.5)


def delivery() -> str:
    """All data of the delivery."""
    it = context.current()

    def optional(value: Optional[bytes]) -> str:
        return "none" if value is None else listed(value)

    headers = ";".join(f"{header.name}={optional(header.value)}" for header in it.headers)
    place = it.id.split("/", 1)[1]
    return f"{place} {it.attempt} {it.topic} {it.partition} {it.offset} {it.timestamp} {optional(it.key)} {headers}"


def stores(probe: Probe) -> bool:
    """Runs an action on stores. Returns ``False`` for any other action."""
    if probe.do == "put":
        if probe.constructs is not None:
            store_things.put(probe.text, probe.constructs)
    elif probe.do == "get":
        emit_constructs("get", store_things.get(probe.text))
    elif probe.do == "delete":
        store_things.delete(probe.text)
        emit_constructs("deleted", store_things.get(probe.text))
    elif probe.do == "scan":
        for key, constructs in store_things.scan(probe.text, probe.after, probe.n):
            emit("scan", constructs.long, key)
    elif probe.do == "raw-keys":
        store_raw.put(b"\0\xff", point(probe.n))
        store_raw.put(b"\0", point(1))
        store_raw.put(b"\1", point(2))
        store_raw.delete(b"\1")
        for key, found in store_raw.scan(b"\0", None, 10):
            emit("raw-keys", found.x, listed(key))
        gone = store_raw.get(b"\1")
        emit("raw-keys", -1 if gone is None else gone.x, "")
    elif probe.do == "typed-keys":
        key = point(probe.n)
        known = store_typed.get(key)
        before = 0 if known is None else known.x
        store_typed.put(key, point(before + 1))
        emit("typed-keys", before, "")
        store_typed.delete(Point(key.x, None))
    else:
        return False
    return True


def tables(probe: Probe) -> bool:
    """What is looked up in tables; ``False`` if it is something else."""
    if probe.do == "fact":
        fact = table_facts.get(probe.text)
        emit("fact", -1 if fact is None else fact.n, "" if fact is None else fact.note or "")
    elif probe.do == "facts":
        for key, fact in table_facts.scan(probe.text, probe.after, probe.n):
            emit("facts", fact.n, key)
    elif probe.do == "named":
        found = table_named.get(point(probe.n))
        emit("named", -1 if found is None else len(found), "" if found is None else listed(found))
    else:
        return False
    return True


def failures(probe: Probe) -> bool:
    """Runs an action that fails. Returns ``False`` for any other action."""
    if probe.do == "reject":
        emit("reject", 0, "")
        store_raw.put(b"\x09", point(9))
        log.info("not written")
        log.warn("about to reject")
        raise Rejected(probe.text)
    elif probe.do == "fail":
        raise Failed(probe.text)
    elif probe.do == "fail-once":
        attempt = context.current().attempt
        if attempt < 2:
            raise Failed(probe.text)
        emit("fail-once", attempt, "")
    elif probe.do == "trap":
        emit("trap", 0, "")
        raise RuntimeError("as asked")
    elif probe.do == "loop":
        while True:
            pass
    elif probe.do == "grow":
        kept = []
        while True:
            kept.append(b"\1" * (1 << 20))
    elif probe.do == "emit-wrong":
        emit_constructs("emit-wrong", replace(made.constructs(), price="1.234"))
    elif probe.do == "put-wrong":
        store_things.put("wrong", replace(made.constructs(), four=b"\1"))
    else:
        return False
    return True


def on_probe_values(probe: Probe) -> None:
    if stores(probe) or tables(probe) or failures(probe):
        return
    if probe.do == "echo":
        emit_constructs("echo", probe.constructs)
    elif probe.do == "make":
        emit_constructs("make", made.constructs())
    elif probe.do == "choices":
        for choice in made.choices():
            emit_constructs("choices", replace(made.constructs(), choice=choice))
    elif probe.do == "many":
        for n in range(probe.n):
            emit("many", n, "")
    elif probe.do == "key-and-headers":
        headers = [Header("a", b"1"), Header("a", None), Header("ü", b""), Header("b", b"\0\xff")]
        probed = Probed("key-and-headers", -(2**63), probe.text, None)
        emit_probe_values_out.send_with(probed, "own kéy", headers)
        emit_probe_values_out.send_with(probed)
    elif probe.do == "context":
        emit("context", 0, delivery())
    elif probe.do == "random":
        number, some = random.next_u64(), random.bytes(5)
        ranges = [random.range(0, 10), random.range(5, 6), random.range(0, 2**64 - 1)]
        emit("random", 0, f"{number} {listed(some)} {listed(ranges)}")
    elif probe.do == "log":
        log.trace("a trace")
        log.debug("a debug line")
        log.info("%s lines", 5)
        log.warn("a warning")
        log.error("an error")
    else:
        raise Rejected(f"there is nothing to do for {probe.do}")


def on_probe_keyed(event: Optional[bytes], key: Optional[Point]) -> None:
    if key is None:
        raise Rejected("there is no key")
    if event is None:
        emit_probe_keyed_out.delete(key)
        emit_probe_values_out.delete("own kéy")
        emit_probe_raw_out.delete(b"\0\xff")
        return
    emit_probe_keyed_out.send(event)
    emit_probe_keyed_out.send_with(event, Point(key.x + 1, None if key.y is None else key.y * 2))


def on_probe_raw(event: bytes) -> None:
    backwards = event[::-1]
    emit_probe_raw_out.send(backwards)
    emit_probe_raw_out.send_with(backwards, b"\0\xff")
