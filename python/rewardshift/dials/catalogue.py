"""Which dials there are: those of the package, and a user's own beside them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rewardshift.shifts import Shift
from rewardshift.sources.folders import dials_root

from .dial import DESCRIPTION, Dial, read_dial
from .references import OURS, reference_of

if TYPE_CHECKING:
    from pathlib import Path


def ready_made_shift(name: str) -> Shift:
    """The shift of a dial, by its name.

    Raises:
        ValueError: If there is none of that name, two, or it is damaged; it says what to do.
    """
    dial = dial_named(name)
    return Shift(
        reference=reference_of(dial),
        lora=dial.adapter,
        strength=dial.strengths.same_vocabulary,
        foreign_strength=dial.strengths.other_vocabulary,
    )


def dial_named(name: str) -> Dial:
    """A dial by its name; other dials, whatever is wrong with them, do not matter.

    Raises:
        ValueError: As for ``ready_made_shift``.
    """
    ours, users = (_folders(root) for root in (OURS.parent, dials_root()))
    if name in ours and name in users:
        raise ValueError(_shadowed(users[name]))
    folder = ours.get(name) or users.get(name)
    if folder is None:
        known = ", ".join([*ours, *users])
        raise ValueError(
            f"there is no dial {name!r}; there are {known} (yours are looked for in {dials_root()})"
        )
    return read_dial(folder)


def is_ours(name: str) -> bool:
    """Whether a dial of that name comes with the package."""
    return name in _folders(OURS.parent)


def all_dials() -> tuple[list[Dial], list[str]]:
    """Every dial, those of the package first, and what is wrong with others."""
    found, wrong = [], []
    ours, users = (_folders(root) for root in (OURS.parent, dials_root()))
    for folder in (*ours.values(), *users.values()):
        if folder.parent != OURS.parent and folder.name in ours:
            wrong.append(_shadowed(folder))
            continue
        try:
            dial = read_dial(folder)
            reference_of(dial)
        except ValueError as error:
            wrong.append(str(error))
        else:
            found.append(dial)
    return found, wrong


def _folders(root: Path) -> dict[str, Path]:
    """The folders of dials in one, by name."""
    return {path.parent.name: path.parent for path in sorted(root.glob(f"*/{DESCRIPTION}"))}


def _shadowed(folder: Path) -> str:
    return (
        f"there are two dials {folder.name!r}, one of the package and one of yours: give yours, "
        f"{folder}, another name, in its {DESCRIPTION} as well"
    )
