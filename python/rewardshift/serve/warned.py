"""Warnings about requests, in the log: each once, whatever its numbers are."""

from __future__ import annotations

import re
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from .record import write_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_NUMBER = re.compile(r"\d+")


@contextmanager
def warnings_in_log(*, when: Callable[[], bool]) -> Iterator[None]:
    """Within it our own warnings are lines of the log while something holds; others stay.

    Args:
        when: What is to hold.
    """
    others = warnings.showwarning
    told: set[str] = set()

    def show(message: Warning | str, category: type[Warning], *where: Any) -> None:  # noqa: ANN401
        if category.__module__ != "rewardshift.errors" or not when():
            others(message, category, *where)
            return
        words = _NUMBER.sub("", str(message))
        if words not in told:
            told.add(words)
            write_line({"warning": str(message)})

    warnings.showwarning = show  # type: ignore[assignment]  # which wants every name of `where`
    try:
        yield
    finally:
        warnings.showwarning = others
