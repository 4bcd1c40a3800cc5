"""Which pair is checked: the one shift among what a ``Decoder`` would be given."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rewardshift.dials.catalogue import ready_made_shift
from rewardshift.shifts import CLASSIC, Shift, classic_pair, shifts_by_name

if TYPE_CHECKING:
    from collections.abc import Mapping

_OF_PAIRS = ("draft", "reference", "draft_lora", "draft_lora_scale", "shift", "shifts")


def pair_of(roles: Mapping[str, Any]) -> tuple[str, Shift]:
    """The shift of a decoder with these arguments, a pair or a head, and its name.

    Raises:
        ValueError: If there is none, or more than one, or something else that drafts.
    """
    if roles.get("base") is not None:
        raise ValueError("a pair is checked with drafts of its own: leave out base")
    named = shifts_by_name(roles.get("shift"), roles.get("shifts"), ready_made=ready_made_shift)
    if len(named) > 1:
        raise ValueError(f"one shift is checked at a time, and here are {', '.join(named)}")
    if named:
        return next(iter(named.items()))
    if roles.get("reference") is None and roles.get("draft_lora") is None:
        raise ValueError(
            "there is no reference, nor a draft_lora: a pair is a draft and what it was before"
        )
    pair = classic_pair(*(roles.get(name) for name in _OF_PAIRS[:4]))
    assert pair is not None  # noqa: S101 - or one of the two would be missing
    return CLASSIC, pair


def with_target(roles: Mapping[str, Any], name: str, pair: Shift, target: object) -> dict[str, Any]:
    """The arguments of a decoder of another target, shifted by the same pair."""
    rest = {key: value for key, value in roles.items() if key not in _OF_PAIRS}
    return {**rest, "target": target, "shifts": {name: pair}}
