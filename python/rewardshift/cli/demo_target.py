"""What ``rewardshift demo`` decodes with: the user's own file, or the best that can be fetched."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rewardshift.errors import ModelLoadError
from rewardshift.sources.hub import HubFile, fetch, local_path, require_within_reach
from rewardshift.sources.index import smollm2

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from rewardshift.sources.hub import StrPath

QWEN = HubFile(
    repo="Qwen/Qwen2.5-1.5B-Instruct-GGUF",
    file="qwen2.5-1.5b-instruct-q4_k_m.gguf",
    revision="91cad51170dc346986eccefdc2dd33a9da36ead9",
    sha256="6a1a2eb6d15622bf3c96857206351ba97e1af16c30d7a74ee38970e434e9407e",
)
PATIENCE = 3.0
"""Seconds in which the hub must answer; a first look should not begin with waiting."""


ASKED = {
    "positive": ("I baked my first bread.", "I am moving to a new city."),
    "concise": ("What is a black hole?", "What is photosynthesis?"),
}
ASKED_OF_SMALL = {
    "positive": (
        "Tell me about the city of Paris.",
        "What should I do this weekend?",
        "Tell me about dogs.",
        "Write about a walk in the park.",
    )
}
"""Prompts by dial, chosen among everyday ones because their answers show it."""


@dataclass(frozen=True, slots=True)
class Target:
    """A model to show dials on.

    Attributes:
        name: As it is shown.
        path: Its file.
        asked: Dials to show where the user names none, and prompts for each.
        given: How the user named it; None if it is ours.
    """

    name: str
    path: Path
    asked: Mapping[str, Sequence[str]] = field(default_factory=lambda: ASKED)
    given: str | None = None


def given_target(name: StrPath) -> Target:
    """The user's own, by its path or its name on the hub.

    Raises:
        ModelLoadError: If it cannot be had.
    """
    path = local_path(name)
    return Target(path.name, path, given=str(name))


def best_target() -> Target:
    """Qwen2.5-1.5B-Instruct from the hub, or SmolLM2 where the hub is out of reach: a line says so.

    Raises:
        Error: If neither can be had.
    """
    try:
        require_within_reach(QWEN, seconds=PATIENCE)
        _tell(
            "the demo's target is Qwen2.5-1.5B-Instruct (Apache-2.0), 1.12 GB from the hub unless "
            "it is there already: the smallest whose answers are worth reading; --small takes one "
            "of 98 MB"
        )
        return Target("Qwen2.5-1.5B-Instruct", fetch(QWEN))
    except ModelLoadError as error:
        why = str(error).removeprefix(f"{QWEN}: ")
        _tell(f"Qwen2.5-1.5B-Instruct: {why}; SmolLM2-135M-Instruct takes its place")
        return small_target()


def small_target() -> Target:
    """SmolLM2-135M-Instruct, from the package index.

    It is the model that the reference of the package's dials was distilled from, and too small for
    short answers to be of use.

    Raises:
        Error: If it cannot be had.
    """
    return Target("SmolLM2-135M-Instruct", smollm2(), ASKED_OF_SMALL)


def _tell(what: str) -> None:
    sys.stderr.write(f"rewardshift: {' '.join(what.split())}\n")
