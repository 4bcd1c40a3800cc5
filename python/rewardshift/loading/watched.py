"""Long calls of the core, with progress and Ctrl-C."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, TypeVar

from rewardshift import _core
from rewardshift.progress import bars, is_shown

from .log import forward_log

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

_POLL_SECONDS = 0.05


def watched(call: Callable[[_core.Monitor], T], what: str, *, progress: bool | None) -> T:
    """Runs a long call of the core in a thread of its own, so that Ctrl-C ends it.

    Args:
        call: Runs until done, or cancelled through the monitor it is given.
        what: Says what it does, beside the progress bar.
        progress: Whether to show that; None shows it on a terminal.
    """
    monitor = _core.Monitor()
    result: list[T] = []
    failure: list[BaseException] = []
    # Not Thread.join: before Python 3.12, one that Ctrl-C interrupts takes the thread for ended.
    done = threading.Event()

    def run() -> None:
        try:
            result.append(call(monitor))
        except BaseException as error:  # noqa: BLE001 - raised again below, in the caller's thread
            failure.append(error)
        finally:
            done.set()

    threading.Thread(target=run, name=what, daemon=True).start()
    try:
        _wait(done, monitor, what, shown=is_shown(progress))
    except BaseException:
        monitor.cancel()
        done.wait()
        raise
    finally:
        forward_log()
    if failure:
        raise failure[0]
    return result[0]


def _wait(done: threading.Event, monitor: _core.Monitor, what: str, *, shown: bool) -> None:
    if not shown:
        while not done.wait(_POLL_SECONDS):
            pass
        return
    with bars() as display:
        task = display.add_task(what, total=1.0)
        while not done.wait(_POLL_SECONDS):
            display.update(task, completed=monitor.progress)
