"""Where files are kept, and how they are written."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator


def cache_root() -> Path:
    """The folder for what is downloaded; it need not exist."""
    if chosen := os.environ.get("REWARDSHIFT_CACHE_DIR"):
        return Path(chosen).expanduser().absolute()
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local"
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "rewardshift"


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A path to write to; the file gets its own name only when whole."""
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".rewardshift-") as scratch:
        fresh = Path(scratch) / path.name
        yield fresh
        fresh.replace(path)


def json_rows(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """The objects of a file of JSON lines, each with where it stands; empty lines do not count.

    Raises:
        ValueError: If a line is no JSON object; it says which.
    """
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
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
