"""A dial, and the file that describes it."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rewardshift.files.atomic import replacing

if TYPE_CHECKING:
    from collections.abc import Mapping

DESCRIPTION, CARD = "dial.json", "card.md"
_NAME = re.compile(r"[a-z0-9][a-z0-9-]*")
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Strengths:
    """How strongly a dial shifts where a request does not say.

    Attributes:
        same_vocabulary: Of targets whose vocabulary is the reference's: its own family.
        other_vocabulary: Of all others.
    """

    same_vocabulary: float = 1.0
    other_vocabulary: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Dial:
    """A named shift for any target.

    Attributes:
        folder: Where its description, its card and its adapter lie; it has the dial's name.
        does: What a target does more with it, as in "a target sounds positive".
        strengths: Its defaults.
        licence: Of its files.
        adapter: GGUF file of the LoRA, in its folder.
        reference_sha256: Of the GGUF file that the adapter belongs to.
    """

    folder: Path
    does: str
    strengths: Strengths
    licence: str
    adapter: Path
    reference_sha256: str

    @property
    def name(self) -> str:
        """By which it is asked for."""
        return self.folder.name

    @property
    def card(self) -> Path:
        """The file that says how it was made, what it was measured to do, and its limits."""
        return self.folder / CARD


def require_dial_name(name: str) -> None:
    """Raises ValueError for what cannot be a dial's name."""
    if not _NAME.fullmatch(name):
        raise ValueError(
            f"a dial's name is of lower-case letters, digits and hyphens, not {name!r}"
        )


def write_dial(dial: Dial) -> None:
    """Writes the description of a dial into its folder, which is there."""
    described = {
        "name": dial.name,
        "does": dial.does,
        "strength": {
            "same_vocabulary": dial.strengths.same_vocabulary,
            "other_vocabulary": dial.strengths.other_vocabulary,
        },
        "licence": dial.licence,
        "adapter": dial.adapter.name,
        "reference_sha256": dial.reference_sha256,
    }
    with replacing(dial.folder / DESCRIPTION) as fresh:
        fresh.write_text(json.dumps(described, indent=2) + "\n", encoding="utf-8")


def read_dial(folder: Path) -> Dial:
    """The dial that a folder describes.

    Raises:
        ValueError: If the description is none; it names the file, and what is wrong.
    """
    path = folder / DESCRIPTION
    try:
        return _dial_of(folder, json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, OSError, RecursionError) as error:
        raise ValueError(f"{path} describes no dial: {error}") from None


def _dial_of(folder: Path, described: object) -> Dial:
    if not isinstance(described, dict):
        raise ValueError("it is no JSON object")  # noqa: TRY004 - a file's content, no argument
    name = _text(described, "name")
    require_dial_name(name)
    if name != folder.name:
        raise ValueError(f"it is named {name!r}, and its folder {folder.name!r}: rename one")
    adapter = _text(described, "adapter")
    if Path(adapter).name != adapter:
        raise ValueError(f"adapter must be a file in the same folder, not {adapter!r}")
    if not (folder / adapter).is_file():
        raise ValueError(f"its adapter, {adapter}, is missing")
    sha256 = _text(described, "reference_sha256")
    if not _SHA256.fullmatch(sha256):
        raise ValueError(f"reference_sha256 must be 64 hexadecimal digits, not {sha256!r}")
    return Dial(
        folder=folder,
        does=_text(described, "does"),
        strengths=_strengths(described.get("strength")),
        licence=_text(described, "licence"),
        adapter=folder / adapter,
        reference_sha256=sha256,
    )


def _text(described: Mapping[str, Any], key: str) -> str:
    if not isinstance(value := described.get(key), str) or not value:
        raise ValueError(f"{key} must be text, not {value!r}")
    return value


def _strengths(given: object) -> Strengths:
    keys = ("same_vocabulary", "other_vocabulary")
    if not isinstance(given, dict):
        raise ValueError(f"strength must have {' and '.join(keys)}, not be {given!r}")  # noqa: TRY004
    return Strengths(*(_finite(key, given.get(key)) for key in keys))


def _finite(key: str, value: object) -> float:
    if isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value):
        return float(value)
    raise ValueError(f"strength: {key} must be a finite number, not {value!r}")
