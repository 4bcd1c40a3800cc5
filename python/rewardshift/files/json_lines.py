"""Files of JSON lines."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from .text import read_lines

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def json_rows(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """The objects of a file of JSON lines, each with where it stands; empty lines do not count.

    Raises:
        ValueError: If a line is no JSON object; it says which. Or if the file is not UTF-8.
    """
    for number, line in enumerate(read_lines(path), 1):
        if not line.strip():
            continue
        where = f"{path}:{number}"
        try:
            row = json.loads(line)
        except ValueError as error:
            raise ValueError(f"{where}: not JSON: {error}") from None
        if not isinstance(row, dict):
            raise ValueError(f"{where}: not a JSON object: {line}")  # noqa: TRY004
        yield where, row
