"""Paths as users give them."""

from __future__ import annotations

import os
from pathlib import Path


def given_path(name: str | os.PathLike[str]) -> Path:
    """The path of a name, in which ``~`` is expanded, as shells do at the beginning of a word.

    Raises:
        ValueError: If the name is empty.
    """
    text = os.fspath(name)
    if not text:  # to pathlib, that is the folder at hand
        raise ValueError("the file name is empty")
    if not text.startswith("~"):  # "./~" is a name
        return Path(text)
    try:
        return Path(text).expanduser()
    except RuntimeError:  # of a user that there is none of
        return Path(text)


def require_folder(path: Path) -> None:
    """Raises FileNotFoundError if the folder of a file to write is not there: before the work."""
    if not path.parent.is_dir():
        raise FileNotFoundError(f"there is no folder {path.parent} to write {path.name} to")
