"""A small real model to try things with: SmolLM2-135M-Instruct (Apache-2.0), fetched with pip.

It is kept in ``$REWARDSHIFT_CACHE_DIR``, or in ``rewardshift/`` of the user's cache, and used from
there without the network from then on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .loading.quantize import quantize
from .sources.folders import cache_root
from .sources.index import SMOLLM2, PackagedModel, fetch, smollm2

if TYPE_CHECKING:
    from pathlib import Path

__all__ = [
    "SMOLLM2",
    "PackagedModel",
    "cache_root",
    "fetch",
    "requantised",
    "smollm2",
    "smollm2_q4_0",
]


def smollm2_q4_0() -> Path:
    """The same model in Q4_0, which most processors evaluate faster; made the first time.

    Raises:
        Error: If the original cannot be had, or not be written again.
    """
    source = smollm2()
    return requantised(source, source.with_name(source.name.replace("Q4_1", "Q4_0")), "Q4_0")


def requantised(source: Path, path: Path, kind: str) -> Path:
    """``path``, to which ``source`` is written with weights of another type unless it is there.

    Raises:
        ModelLoadError: If the source cannot be read.
        ValueError: If there is no such type.
    """
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        quantize(source, path, kind, allow_requantize=True, overwrite=True)
    return path
