"""Where files are kept, and how they are written."""

from __future__ import annotations

import os
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

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
