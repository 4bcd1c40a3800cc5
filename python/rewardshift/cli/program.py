"""How a program of ours starts and ends: what it does on Ctrl-C at any moment, and its streams.

What this imports, Ctrl-C during it shows as a traceback: as little as can be.
"""

from __future__ import annotations

import os
import signal
import sys
from contextlib import contextmanager, suppress
from importlib import import_module

TYPE_CHECKING = False  # see the package's __init__
if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType
    from typing import NoReturn

FAILED, WRONG_USAGE, INTERRUPTED = 1, 2, 130
"""Exit codes, beside 0."""


def run(module: str, function: str) -> NoReturn:
    """Imports and calls a program, and ends the process as it says: by ``sys.exit``, or with 0.

    Ctrl-C ends the process at once, with a line and 130, but where ``interruptible`` says that
    there is something to let go of. Characters that stdout cannot encode are replaced.

    Args:
        module: What to import; that takes a while.
        function: Its function without arguments.
    """
    _end_at_once()
    _prepare_streams()
    try:
        program = getattr(import_module(module), function)
    except ImportError as error:  # a package is missing, or no core is for this processor
        sys.exit(_failed(error))
    code: object = 0
    try:
        try:
            program()
        except SystemExit as end:
            code = end.code
        sys.stdout.flush()
    except BrokenPipeError:  # the reader has left
        code = _failed()
    except OSError as error:  # a disk is full
        code = _failed(error)
    # An interpreter that ends would answer Ctrl-C with a traceback, and while a thread that was
    # interrupted is still in the core it must not end at all.
    if code == INTERRUPTED:
        os._exit(INTERRUPTED)
    sys.exit(code)  # type: ignore[arg-type]  # as it was given


def _failed(error: Exception | None = None) -> int:
    if error is not None:
        with suppress(OSError):
            sys.stderr.write(f"rewardshift: {error}\n")
    with suppress(OSError):  # what stdout still holds is nobody's
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    return FAILED


def _prepare_streams() -> None:
    """Where a stream was closed before the start, nothing is read and written."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: PTH123, SIM115
    for stream in (sys.stdout, sys.stderr):
        # Unless the user has chosen another way (PYTHONIOENCODING).
        if stream.errors == "strict" and hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")


@contextmanager
def interruptible() -> Iterator[None]:
    """Within it Ctrl-C is a KeyboardInterrupt: something is to be let go of, or shown.

    Whoever is impatient and sends another before that is done ends the process at once.
    """
    if signal.getsignal(signal.SIGINT) is not _end:
        yield
        return
    signal.signal(signal.SIGINT, _interrupt)
    try:
        yield
    finally:
        _end_at_once()


def go_on() -> None:
    """An interruption was answered and the program goes on: the next is a KeyboardInterrupt too."""
    if _is_ours:
        signal.signal(signal.SIGINT, _interrupt)


@contextmanager
def importing() -> Iterator[None]:
    """Within it Ctrl-C ends our programs at once: many a module makes something else of it."""
    if not _is_ours:
        yield
        return
    _end_at_once()
    try:
        yield
    finally:
        go_on()


def tell_of_interruption() -> None:
    """Says so on stderr, once; another Ctrl-C, also amid this, is answered in silence."""
    global _is_told  # noqa: PLW0603 - as for signal handlers, below
    if not _is_told:
        _is_told = True
        sys.stderr.write("rewardshift: interrupted\n")


_is_ours = False
"""Whether this process runs one of our programs, whose Ctrl-C is ours to answer."""
_is_told = False
"""Whether the line is there."""


def _end_at_once() -> None:
    """Where a shell has Ctrl-C ignored, as in its background, it stays so."""
    global _is_ours  # noqa: PLW0603 - signal handlers are the process's, too
    _is_ours = _is_ours or signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if _is_ours:
        signal.signal(signal.SIGINT, _end)


def _interrupt(_signal: int, _frame: FrameType | None) -> NoReturn:
    signal.signal(signal.SIGINT, _end)
    raise KeyboardInterrupt


def _end(_signal: int, _frame: FrameType | None) -> None:
    """Not an exception: what is being imported or collected might swallow it.

    Another Ctrl-C comes to this again, also amid it: what it tells it notes first.
    """
    global _is_told
    was_told, _is_told = _is_told, True
    if not was_told:
        with suppress(OSError):
            os.write(2, b"rewardshift: interrupted\n")
    os._exit(INTERRUPTED)
