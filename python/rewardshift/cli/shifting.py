"""Shifts and their strengths, as words of a command line."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from rewardshift.dials.catalogue import ready_made_shift
from rewardshift.shifts import Shift
from rewardshift.sources.hub import named_file

if TYPE_CHECKING:
    from collections.abc import Sequence

_FORM = "NAME, NAME=DRAFT:REFERENCE, or NAME=HEAD"
_BETWEEN = re.compile(r"(?<=\.gguf):", re.IGNORECASE)
"""Between two files; the colons of ``owner/repo:file.gguf`` and of drives are none."""


def shifts_of(words: Sequence[str]) -> dict[str, Shift]:
    """The shifts of ``--shift``, by name.

    Args:
        words: The name of one that ships with the package, ``name=draft.gguf:reference.gguf``, or
            ``name=head.gguf``.

    Raises:
        ValueError: For what is neither, and for names that are given twice.
    """
    found: dict[str, Shift] = {}
    for word in words:
        name, equals, files = word.partition("=")
        if not name or (equals and not files):
            raise ValueError(f"--shift takes {_FORM}, not {word!r}")
        if name in found:
            raise ValueError(f"--shift {name} is given twice: each needs a name of its own")
        found[name] = _of_files(name, files) if equals else _shipped(name)
    return found


def _shipped(name: str) -> Shift:
    try:
        return ready_made_shift(name)
    except ValueError as error:
        raise ValueError(f"--shift takes {_FORM}: {error}") from None


def _of_files(name: str, files: str) -> Shift:
    parts = _BETWEEN.split(files, maxsplit=1)
    if len(parts) != 2:
        parts = files.split(":")
    if len(parts) == 1 and files.lower().endswith(".gguf"):
        return Shift(head=named_file(files))
    if len(parts) != 2 or not all(parts):
        raise ValueError(
            f"--shift {name}= takes two files with a colon between them, draft.gguf:reference.gguf,"
            f" or the file of a head, not {files!r}"
        )
    return Shift(*map(named_file, parts))


def strength_of(words: Sequence[str]) -> float | dict[str, float] | None:
    """The strength of ``--strength``: a number, or numbers by shift; None of no words.

    Raises:
        ValueError: For what is no number, and for several where there can be one.
    """
    by_shift: dict[str, float] = {}
    numbers: list[float] = []
    for word in words:
        name, equals, value = word.rpartition("=")
        if equals and not name:
            raise ValueError(f"--strength takes NUMBER, or NAME=NUMBER, not {word!r}")
        if name in by_shift:
            raise ValueError(f"--strength {name} is given twice")
        number = _number(word, value)
        if equals:
            by_shift[name] = number
        else:
            numbers.append(number)
    if len(numbers) > 1 or (numbers and by_shift):
        raise ValueError(
            "--strength may be repeated with a name before each number only: "
            "--strength ours=1.5 --strength plain=-0.5"
        )
    return numbers[0] if numbers else by_shift or None


def _number(word: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"--strength takes NUMBER, or NAME=NUMBER, not {word!r}") from None
