"""Chooses among the cores of a wheel that holds several, compiled for different processors.

Only such a wheel uses it (see cmake/ManyCores.cmake); a build for one processor has its core as
``_core`` itself.
"""

from __future__ import annotations

import importlib.util
import os
from importlib.machinery import PathFinder
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Set
    from types import ModuleType

OVERRIDE = "REWARDSHIFT_CPU"
"""The environment variable that names the core to use, for tests and measurements."""

_FROM_SOURCE = "to use rewardshift here, install it from the source folder: pip install ."


def load(name: str, needs: Mapping[str, str], features: Set[str]) -> ModuleType:
    """Loads the chosen core.

    Args:
        name: What the module will be called; its last part is the name of the file.
        needs: As for ``choose``; each core is in the folder ``_cores/<name>`` beside this file.
        features: As for ``choose``.

    Raises:
        ImportError: If none may be loaded, or its file is missing.
    """
    folder = Path(__file__).parent / "_cores" / choose(needs, features, os.environ.get(OVERRIDE))
    spec = PathFinder.find_spec(name, [str(folder)])
    if spec is None or spec.loader is None:
        raise ImportError(f"{folder} holds no core for this Python; {_FROM_SOURCE}", name=name)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def choose(needs: Mapping[str, str], features: Set[str], wanted: str | None = None) -> str:
    """The first core that this processor can run, or the wanted one.

    Args:
        needs: For each core, best first, the features it needs, separated by spaces.
        features: What the processor and its operating system support.
        wanted: A core's name; none or empty to choose.

    Raises:
        ImportError: If the processor supports none, or not the wanted one; loading one of them
            would end the process sooner or later.
    """
    lacking = {core: set(needed.split()) - features for core, needed in needs.items()}
    if wanted:
        if wanted not in lacking:
            raise ImportError(f"{OVERRIDE} is {wanted!r}; this wheel has {', '.join(needs)}")
        if lacking[wanted]:
            raise ImportError(
                f"{OVERRIDE} is {wanted!r}, but this processor lacks {_listed(lacking[wanted])}"
            )
        return wanted
    for core, absent in lacking.items():
        if not absent:
            return core
    least, absent = list(lacking.items())[-1]
    raise ImportError(
        f"this wheel needs a processor with {', '.join(needs[least].split())}; this one lacks "
        f"{_listed(absent)}; {_FROM_SOURCE}"
    )


def _listed(features: Set[str]) -> str:
    return ", ".join(sorted(features))
