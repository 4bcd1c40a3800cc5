"""Arguments that methods share: checked in one manner, and shown in names."""

from __future__ import annotations

import math
import operator
from collections.abc import Mapping
from dataclasses import fields
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    from rewardshift.shifts import Strength


def at_least(least: int, /, **given: int) -> None:
    """Raises ValueError, with the value, unless each is a whole number of at least ``least``."""
    for name, value in given.items():
        try:
            fits = not isinstance(value, bool) and operator.index(value) >= least
        except TypeError:
            fits = False
        if not fits:
            raise ValueError(f"{name} must be a whole number, at least {least}, not {value!r}")


def finite(**given: float) -> None:
    """Raises ValueError, with the value, unless each is a finite number."""
    for name, value in given.items():
        if not _is_number(value) or not math.isfinite(value):
            raise ValueError(f"{name} must be a finite number, not {value!r}")


def is_strength(strength: object, *, or_none: bool = True) -> None:
    """Raises ValueError, with the value, unless it is a finite number, or such numbers by shift."""
    if strength is None and or_none:
        return
    if isinstance(strength, Mapping):
        for name, value in strength.items():
            finite(**{f"strength of {name}": value})
    else:
        finite(strength=strength)  # type: ignore[arg-type]  # which is what it checks


def shown_strength(strength: Strength) -> str:
    """As names of methods have it: "1.5", "default", "ours 1.5, plain -0.5"."""
    if strength is None:
        return "default"
    if isinstance(strength, Mapping):
        return ", ".join(f"{name} {value:g}" for name, value in strength.items()) or "0"
    return f"{strength:g}"


def positive(**given: float) -> None:
    """Raises ValueError, with the value, unless each is a finite number above 0."""
    for name, value in given.items():
        if not _is_number(value) or not 0 < value < math.inf:
            raise ValueError(f"{name} must be finite and above 0, not {value!r}")


def within(low: float, high: float, /, **given: float) -> None:
    """Raises ValueError, with the value, unless each is between the two, or one of them."""
    for name, value in given.items():
        if not _is_number(value) or not low <= value <= high:
            raise ValueError(f"{name} must be between {low:g} and {high:g}, not {value!r}")


def is_truth(**given: bool) -> None:
    """Raises ValueError, with the value, unless each is True or False."""
    for name, value in given.items():
        if not isinstance(value, bool):
            raise ValueError(f"{name} must be true or false, not {value!r}")  # noqa: TRY004


def label(kind: str, method: DataclassInstance, *shown: str) -> str:
    """A method's name: its kind, the fields to show always, and those that are not as usual."""
    parts = [kind]
    for field in fields(method):
        value = getattr(method, field.name)
        if field.name != "reward" and (field.name in shown or value != field.default):
            text = f"{value:g}" if _is_number(value) else str(value)
            parts.append(f"{field.name}={text}")
    return " ".join(parts)


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
