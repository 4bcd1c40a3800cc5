"""Files that appear only when they are whole."""

from __future__ import annotations

import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A path to write to; the file gets its own name only when whole."""
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".rewardshift-") as scratch:
        fresh = Path(scratch) / path.name
        yield fresh
        fresh.replace(path)
