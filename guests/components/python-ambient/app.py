"""Uses all of Python's library that needs an operating system, and raises exceptions of every kind."""

import datetime
import os
import pathlib
import random
import secrets
import socket
import sys
import threading
import time
import uuid

import inner
from heddle import Failure, Header, Rejected, contracts, emit_out

# A module may read files while the component is built.
SOURCE = pathlib.Path(__file__).read_text().count("\n")


def clocks() -> str:
    start = time.monotonic()
    moments = datetime.datetime.now(), time.time(), datetime.datetime.now(datetime.timezone.utc), datetime.date.today()
    return f"{moments[0]} {moments[1]} {moments[2]} {moments[3]} {time.strftime('%H:%M')} {time.monotonic() > start}"


def numbers() -> str:
    ids = uuid.uuid1(), uuid.uuid4(), uuid.uuid6(), uuid.uuid7(), uuid.uuid7()
    return " ".join(map(str, [*ids, secrets.token_hex(4), os.urandom(4), random.random(), random.randbytes(2)]))


def machine() -> str:
    there = os.path.exists("/etc/hosts"), list(pathlib.Path("/").glob("*")), os.getcwd(), dict(os.environ), sys.stdin.read()
    return f"{there} {SOURCE > 20}"


def library() -> str:
    parsed = datetime.datetime.strptime("2020-02-03", "%Y-%m-%d")
    return f"{parsed} {bytes([0xE4]).decode('latin-1')} {'ä'.encode('utf-16')!r} {'€'.encode('cp1252')!r}"


def printed() -> str:
    print("to stdout,\nin two lines")
    print("in", 3, "pieces", sep="-", end="")
    print("to stderr", file=sys.stderr)
    return "printed"


ASKED = {
    "clocks": clocks,
    "numbers": numbers,
    "machine": machine,
    "library": library,
    "printed": printed,
}

#: Actions that a component cannot do.
WITHOUT = {
    "read": lambda: open("/etc/hosts"),
    "write": lambda: pathlib.Path("there").write_text("x"),
    "list": lambda: os.listdir("/"),
    "make": lambda: os.makedirs("/a/b"),
    "stat": lambda: os.stat("/etc/hosts"),
    "connect": lambda: socket.create_connection(("example.com", 80)),
    "resolve": lambda: socket.getaddrinfo("example.com", 80),
    "socket": lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM),
    "sleep": lambda: time.sleep(3600),
    "thread": lambda: threading.Thread(target=print).start(),
    "import": lambda: __import__("colorsys"),
    "codec": lambda: b"x".decode("cp1250"),
    "input": lambda: input(),
}

#: Values that do not fit their types.
UNFIT = {
    "none": lambda: emit_out.send(None),
    "no text": lambda: emit_out.send(contracts.Result(None, 1, None)),
    "range": lambda: emit_out.send(contracts.Result("", 2**31, None)),
    "surrogate": lambda: emit_out.send(contracts.Result("\ud800", 1, None)),
    "below": lambda: emit_out.send(contracts.Result("", 1, contracts.Result("", 1, None))),
    "key": lambda: emit_out.send_with(contracts.Result("", 1, None), key=5),
    "header": lambda: emit_out.send_with(contracts.Result("", 1, None), headers=[Header("name", "no bytes")]),
}


def on_in(script: contracts.Script) -> None:
    if script.do in ASKED:
        emit_out.send(contracts.Result(ASKED[script.do](), script.times, None))
    elif script.do == "without":
        emit_out.send(contracts.Result(without(), 0, None))
    elif script.do in WITHOUT:
        WITHOUT[script.do]()
    elif script.do in UNFIT:
        UNFIT[script.do]()
    elif script.do == "boom":
        raise ValueError("boom")
    elif script.do == "rejected, badly":
        raise Rejected("half a pair: \ud800")
    elif script.do == "failure":
        raise Failure("of no kind")
    else:
        inner.fails(script.do)


def without() -> str:
    """The exception of each action, as seen by a handler that catches it."""

    def ends(attempt) -> str:
        try:
            return f"returned {attempt()}"
        except Exception as error:
            return f"{type(error).__name__}: {error}"

    return "\n".join(f"{name}: {ends(attempt)}" for name, attempt in WITHOUT.items())
