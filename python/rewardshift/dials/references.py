"""The references that dials belong to, known by their SHA-256."""

from __future__ import annotations

import hashlib
import shutil
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from rewardshift.files.atomic import replacing
from rewardshift.sources.folders import dials_root

if TYPE_CHECKING:
    from .dial import Dial

OURS = Path(__file__).parents[1] / "embedded" / "reference.gguf"
"""The reference of the package's dials."""


def reference_of(dial: Dial) -> Path:
    """The GGUF file that a dial's adapter belongs to: the package's, or one that was kept.

    Raises:
        ValueError: If it is not there, or damaged; it says what to do.
    """
    if sha256_of(OURS) == dial.reference_sha256:
        return OURS
    path = _kept(dial.reference_sha256)
    if not path.is_file():
        raise ValueError(
            f"the dial {dial.name!r} belongs to another reference than the package's, and that is "
            f"not there: put it at {path}, or make the dial again with `rewardshift align`"
        )
    if sha256_of(path) != dial.reference_sha256:
        raise ValueError(f"{path} is damaged: its SHA-256 is not the one that its name says")
    return path


def keep_reference(path: Path) -> str:
    """Keeps a copy of a reference beside the user's dials, unless there is one; its SHA-256.

    The package's own is kept as well: a later version of the package may have another.
    """
    sha256 = sha256_of(path)
    kept = _kept(sha256)
    if not kept.is_file():
        kept.parent.mkdir(parents=True, exist_ok=True)
        with replacing(kept) as fresh:
            shutil.copyfile(path, fresh)
    return sha256


def _kept(sha256: str) -> Path:
    return dials_root() / "references" / f"{sha256}.gguf"


def sha256_of(path: Path) -> str:
    """Of a file's content; a file that has not changed is read once."""
    facts = path.stat()
    return _sha256(path, facts.st_size, facts.st_mtime_ns)


@lru_cache(maxsize=64)
def _sha256(path: Path, _size: int, _changed: int) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()
