"""Where files are kept on this machine, as its platform has it."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def cache_root() -> Path:
    """The folder for what is downloaded; it need not exist."""
    return _folder("REWARDSHIFT_CACHE_DIR", mac="Caches", variable="XDG_CACHE_HOME", usual=".cache")


def dials_root() -> Path:
    """The folder of a user's own dials; it need not exist."""
    return _folder(
        "REWARDSHIFT_DIALS_DIR",
        "dials",
        mac="Application Support",
        variable="XDG_DATA_HOME",
        usual=".local/share",
    )


def _folder(chosen_by: str, *inside: str, mac: str, variable: str, usual: str) -> Path:
    """What the user chose, or the platform's own place.

    Args:
        chosen_by: The environment variable that names the folder itself.
        inside: Where in our part of the platform's place it lies.
        mac: Name of that place in ~/Library.
        variable: The one that names it on Linux, as the XDG base directories are named.
        usual: That place in the user's home.
    """
    if chosen := os.environ.get(chosen_by):
        return Path(chosen).expanduser().absolute()
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local"
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / mac
    else:
        base = os.environ.get(variable) or Path.home() / usual
    return Path(base, "rewardshift", *inside)
