"""The environment of a handler: a component has no files, no network, no processes and no second thread.

The host links an empty WASI, so nothing here guards a boundary. This module turns WASI's error numbers into exceptions
that say what to do instead. It also resets the state that Python's own modules would keep between deliveries. It is
inactive while the component is built, because a module may read files when it is imported.
"""

import codecs
import encodings.cp1252  # noqa: F401
import encodings.latin_1  # noqa: F401
import encodings.utf_8_sig  # noqa: F401
import encodings.utf_16  # noqa: F401
import errno
import sys

# `strptime` imports this module when it is first called, and a handler cannot import.
import _strptime  # noqa: F401

_FILES = "a component has no files: put the data into a Python module, or keep it in a store"
_NETWORK = "a component has no network: emit a record to a service that sends the request"
_PROCESSES = "a component cannot start processes: emit a record to a service that does the work"
_SLEEP = "a handler cannot wait: raise heddle.Failed, and the failure policy tries the record again later"
_THREADS = "a component has one thread: call the function in the handler"
_IMPORT = "a component holds the modules that were imported when it was built: import it at the top of a module"

#: Events of the audit hook that begin with `os.` and do not involve files.
_ENVIRONMENT = ("os.putenv", "os.unsetenv")

_handling = False


def _missing(arguments):
    path = arguments[0] if arguments else None
    if isinstance(path, int):
        # A file descriptor: standard input, output and error exist.
        return None
    return FileNotFoundError(errno.ENOENT, _FILES, path)


def _refusal(event, arguments):
    """The exception for an action of a handler, or ``None`` if the action is allowed."""
    if event == "open":
        return _missing(arguments)
    if event == "time.sleep":
        return RuntimeError(_SLEEP)
    if event in ("_thread.start_new_thread", "_thread.start_joinable_thread"):
        return RuntimeError(_THREADS)
    if event == "subprocess.Popen":
        return PermissionError(errno.EACCES, _PROCESSES)
    if event.startswith("socket."):
        return PermissionError(errno.EACCES, _NETWORK)
    if event.startswith("os.") and event not in _ENVIRONMENT:
        return _missing(arguments)
    return None


def _audit(event, arguments):
    if _handling:
        refusal = _refusal(event, arguments)
        if refusal is not None:
            raise refusal


class _Finder:
    """The last finder of modules, which explains why a module does not exist."""

    @staticmethod
    def find_spec(name, path=None, target=None):
        if _handling:
            raise ModuleNotFoundError(f"No module named {name!r}: {_IMPORT}", name=name)
        return None


def _codec(name):
    """The last search function of codecs, which explains why a codec does not exist."""
    if _handling:
        raise LookupError(f"unknown encoding: {name}: {_IMPORT}, as `import encodings.{name}`")
    return None


def start():
    """Called once, when the component is built and its modules are imported."""
    if "socket" in sys.modules:
        # Host names are encoded with this codec before the missing network is noticed.
        import encodings.idna  # noqa: F401
    sys.addaudithook(_audit)
    sys.meta_path.append(_Finder)
    codecs.register(_codec)


def begin(delivery):
    """Called before every handler; ``delivery`` is a function that returns the delivery."""
    global _handling
    _handling = True
    random, uuid = sys.modules.get("random"), sys.modules.get("uuid")
    if random is not None:
        # The seed of Python's random numbers depends only on the record, so every delivery of it has the same result.
        now = delivery()
        random.seed((now.offset << 32) ^ now.partition)
    if uuid is not None:
        # uuid1, uuid6 and uuid7 continue from the last time that they used, and uuid1 draws a node once.
        vars(uuid).update(_node=1 << 40, _last_timestamp=None, _last_timestamp_v6=None, _last_timestamp_v7=None)
        vars(uuid).update(_last_counter_v7=0)


def advice(error, message):
    """The addition to the message of an exception that the empty WASI itself causes, such as that of ``os.stat``."""
    if not isinstance(error, OSError) or "a component " in message:
        return ""
    return "; a component has no files, no network and no processes"
