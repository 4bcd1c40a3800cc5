"""Where what is downloaded is kept."""

from __future__ import annotations

import os
import sys
from pathlib import Path


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
