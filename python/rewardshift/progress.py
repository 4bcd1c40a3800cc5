"""Progress on stderr, where somebody is looking."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress


def is_shown(progress: bool | None) -> bool:
    """Whether to show progress: as asked, or where stderr is a terminal."""
    return sys.stderr.isatty() if progress is None else progress


def bars(*, of_bytes: bool = False, with_time_left: bool = False, shown: bool = True) -> Progress:
    """A display of progress bars that vanishes when it is left.

    Args:
        of_bytes: Whether tasks count bytes; their amount and rate are then shown.
        with_time_left: Whether to estimate it, for what takes minutes and more.
        shown: Whether anything is.
    """
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        ProgressColumn,
        TaskProgressColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    columns: list[ProgressColumn] = [
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
    ]
    if with_time_left:
        columns += [TextColumn("left:"), TimeRemainingColumn()]
    if of_bytes:
        columns += [DownloadColumn(), TransferSpeedColumn()]
    return Progress(*columns, console=Console(stderr=True), transient=True, disable=not shown)
