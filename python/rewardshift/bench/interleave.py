"""Several ways to do something, measured in turns."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

T = TypeVar("T")


def interleave(
    ways: Mapping[str, Callable[[], T]], *, repeat: int, what: str = "measuring"
) -> dict[str, list[T]]:
    """What each way returned, ``repeat`` times, by name; an earlier round warms up.

    Every round runs all ways, so a machine that grows faster or slower does so for all of them;
    each round starts with another one, so none always comes first.

    Args:
        ways: By name.
        repeat: Rounds that count; at least 1.
        what: Said beside the progress bar, which is shown on a terminal.

    Raises:
        ValueError: If ``repeat`` is less than 1.
    """
    if repeat < 1:
        raise ValueError(f"repeat must be at least 1, not {repeat}")
    names = list(ways)
    results: dict[str, list[T]] = {name: [] for name in names}
    with _progress(what, (repeat + 1) * len(names)) as advance:
        for i in range(-1, repeat):
            first = max(i, 0) % max(len(names), 1)
            for name in names[first:] + names[:first]:
                result = ways[name]()
                if i >= 0:
                    results[name].append(result)
                advance()
    return results


@contextmanager
def _progress(what: str, total: int) -> Iterator[Callable[[], None]]:
    """Called after each of ``total`` steps; shows a bar where stderr is a terminal."""
    if not sys.stderr.isatty():
        yield lambda: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=total)
        yield lambda: bar.advance(task)
