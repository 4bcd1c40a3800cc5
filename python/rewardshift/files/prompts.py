"""Files that users bring: prompts, and preferences between responses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .json_lines import json_rows
from .text import read_lines

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Preference:
    """Two responses to a prompt, the first preferred."""

    prompt: str
    chosen: str
    rejected: str


def read_prompts(path: Path) -> list[str]:
    """The prompts of a file: a line each, or a JSON object with ``prompt`` in each line (.jsonl).

    Raises:
        ValueError: If a line is not such an object, or there are no prompts.
    """
    if path.suffix.lower() == ".jsonl":
        prompts = [_text(row, "prompt", where) for where, row in json_rows(path)]
    else:
        prompts = [line for line in read_lines(path) if line.strip()]
    if not prompts:
        raise ValueError(f"{path} has no prompts")
    return prompts


def read_preferences(path: Path) -> list[Preference]:
    """JSON lines with ``prompt``, ``chosen`` and ``rejected``; what `rewardshift align` kept, too.

    Raises:
        ValueError: If a line is not such an object, or there is none.
    """
    found = [
        Preference(*(_text(row, name, where) for name in ("prompt", "chosen", "rejected")))
        for where, row in json_rows(path)
        if "done" not in row  # the first line of sampled pairs tells how they were sampled
    ]
    if not found:
        raise ValueError(f"{path} has no pairs")
    return found


def _text(row: dict[str, Any], name: str, where: str) -> str:
    if not isinstance(value := row.get(name), str):
        raise ValueError(f"{where}: {name} should be text, not {value!r}")  # noqa: TRY004
    return value
