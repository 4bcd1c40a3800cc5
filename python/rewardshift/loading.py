"""Loading GGUF files, with progress and Ctrl-C."""

from __future__ import annotations

import logging
import os
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from . import _core

if TYPE_CHECKING:
    from collections.abc import Callable

StrPath = str | os.PathLike[str]
"""A path to a file."""

_POLL_SECONDS = 0.05
_logger = logging.getLogger("rewardshift.llama")
_logger.addHandler(logging.NullHandler())  # silent until the application configures logging


def load_model(
    path: StrPath, options: _core.ModelOptions | None = None, *, progress: bool | None = None
) -> _core.Model:
    """Loads a GGUF file in a thread of its own, so that Ctrl-C ends the load.

    Args:
        path: The file.
        options: How to load it.
        progress: Whether to show a progress bar; None shows it on a terminal.

    Raises:
        ModelLoadError: If the file cannot be loaded.
    """
    monitor = _core.LoadMonitor()
    result: list[_core.Model] = []
    failure: list[BaseException] = []

    def load() -> None:
        try:
            loaded = _core.Model.load(os.fspath(path), options or _core.ModelOptions(), monitor)
            result.append(loaded)
        except BaseException as error:  # noqa: BLE001 - raised again below, in the caller's thread
            failure.append(error)

    thread = threading.Thread(target=load, name=f"load {path}", daemon=True)
    thread.start()
    try:
        _wait(thread, monitor, f"loading {Path(path).name}", show=progress)
    except BaseException:
        monitor.cancel()
        thread.join()
        raise
    finally:
        forward_log()
    if failure:
        raise failure[0]
    return result[0]


def _wait(
    thread: threading.Thread, monitor: _core.LoadMonitor, what: str, *, show: bool | None
) -> None:
    if show is None:
        show = sys.stderr.isatty()
    if not show:
        while thread.is_alive():
            thread.join(_POLL_SECONDS)
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=1.0)
        while thread.is_alive():
            thread.join(_POLL_SECONDS)
            bar.update(task, completed=monitor.progress)


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
        self._load: Callable[[StrPath], _core.Model] = lambda path: load_model(
            path, options, progress=progress
        )
        self._models: dict[Path, _core.Model] = {}

    def get(self, path: StrPath) -> _core.Model:
        """The model of a file, loaded now or earlier."""
        key = Path(path).resolve()
        if key not in self._models:
            self._models[key] = self._load(path)
        return self._models[key]
