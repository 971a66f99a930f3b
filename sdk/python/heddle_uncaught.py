"""Reports an uncaught exception of a handler: its type, message and line, and the traceback as log lines.

Nothing here trusts the exception: its ``__str__`` may raise, its message may have any length and not be valid Unicode.
"""

import traceback

import heddle_ambient

#: The folders of the component, of our modules, and of Python, in a built component.
_COMPONENT, _OURS, _PYTHON = "/1/", "/0/", "/python/"
_MESSAGE_CHARS_MAX = 2000
_CAUSES_MAX = 5
_LINES_MAX = 40


def text(value):
    """The result of ``str(value)``, encodable as UTF-8."""
    try:
        words = str(value)
    except BaseException as why:
        return f"<its message cannot be read: __str__ raised {type(why).__name__}>"
    return str.encode(words, "utf-8", "backslashreplace").decode()


def _message(error):
    words = text(error)
    if len(words) > _MESSAGE_CHARS_MAX:
        words = f"{words[:_MESSAGE_CHARS_MAX]}… ({len(words)} characters)"
    return f"{type(error).__name__}: {words}" if words else type(error).__name__


def _place(error):
    """The innermost line of the component; if there is none, the innermost line of Python's library."""
    own = library = ""
    frame = error.__traceback__
    while frame is not None:
        file = frame.tb_frame.f_code.co_filename
        if file.startswith(_COMPONENT):
            own = f" at {file.removeprefix(_COMPONENT)}:{frame.tb_lineno}"
        elif not file.startswith(_OURS):
            library = f" at {file.removeprefix(_PYTHON)}:{frame.tb_lineno}"
        frame = frame.tb_next
    return own or library


def _before(error):
    """The cause or context of an exception, with the word for it."""
    if error.__cause__ is not None:
        return "caused by", error.__cause__
    if error.__context__ is not None and not error.__suppress_context__:
        return "raised while handling", error.__context__
    return "", None


def describe(error):
    """One line with the type, message and line of an exception and of its causes."""
    message = _message(error)
    said = f"uncaught {message}{heddle_ambient.advice(error, message)}{_place(error)}"
    for _ in range(_CAUSES_MAX):
        how, error = _before(error)
        if error is None:
            break
        said += f", {how} {_message(error)}{_place(error)}"
    return said


def lines(error):
    """The last lines of the traceback in Python's format, without our own frames."""
    printed = "".join(traceback.format_exception(error)).splitlines()
    theirs = [line for line in printed if not line.lstrip(" |").startswith(f'File "{_OURS}')]
    named = [line.replace(f'"{_COMPONENT}', '"').replace(f'"{_PYTHON}', '"') for line in theirs]
    return named[-_LINES_MAX:]
