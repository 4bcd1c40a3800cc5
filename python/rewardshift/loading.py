"""Loading GGUF files, with progress and Ctrl-C."""

from __future__ import annotations

import logging
import os
import threading
from typing import TYPE_CHECKING, TypeVar

from . import _core
from .hub import local_path
from .progress import bars, is_shown

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

StrPath = str | os.PathLike[str]
"""A path to a file, or a name on the hub as in ``rewardshift.hub``."""

T = TypeVar("T")

_POLL_SECONDS = 0.05
_logger = logging.getLogger("rewardshift.llama")
_logger.addHandler(logging.NullHandler())  # silent until the application configures logging


def load_model(
    path: StrPath, options: _core.ModelOptions | None = None, *, progress: bool | None = None
) -> _core.Model:
    """Loads a GGUF file.

    Args:
        path: The file, or its name on the hub as in ``rewardshift.hub``.
        options: How to load it.
        progress: Whether to show a progress bar; None shows it on a terminal.

    Raises:
        ModelLoadError: If the file cannot be loaded.
    """
    file = local_path(path, progress=progress)

    def load(monitor: _core.Monitor) -> _core.Model:
        return _core.Model.load(str(file), options or _core.ModelOptions(), monitor)

    return watched(load, f"loading {file.name}", progress=progress)


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


def show_log() -> None:
    """Shows what rewardshift and llama.cpp log on stderr, unless logging is configured already."""
    logging.basicConfig(format="%(name)s: %(message)s")
    logging.getLogger("rewardshift").setLevel(logging.DEBUG)


def forward_log() -> None:
    """Passes what llama.cpp logged on to the logger ``rewardshift.llama``."""
    for level, line in _core.drain_log():
        _logger.log(level, line)


class ModelCache:
    """Loads each file once: roles that name the same file share its weights."""

    def __init__(self, options: _core.ModelOptions, *, progress: bool | None) -> None:
        """Arguments as ``load_model``."""
        self._options = options
        self._progress = progress
        self._models: dict[Path, _core.Model] = {}

    def get(self, path: StrPath) -> _core.Model:
        """The model of a file, loaded now or earlier."""
        file = local_path(path, progress=self._progress)
        key = file.resolve()
        if key not in self._models:
            self._models[key] = load_model(file, self._options, progress=self._progress)
        return self._models[key]
