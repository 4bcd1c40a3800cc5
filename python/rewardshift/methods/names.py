"""Methods by their names on the command line."""

from __future__ import annotations

import inspect
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from .args import ARGS
from .best_of_n import BestOfN, soft_best_of_n
from .cards import CARDS
from .gsi import GSI, RSD
from .plain import SSS, TargetOnly, ThreeModel
from .stand import STAND
from .treebon import TreeBoN

if TYPE_CHECKING:
    from collections.abc import Callable

    from rewardshift.rewards import Reward

    from .method import Method

_METHODS: dict[str, Callable[..., Method]] = {
    "target": TargetOnly,
    "three-model": ThreeModel,
    "sss": SSS,
    "best-of-n": BestOfN,
    "soft-best-of-n": soft_best_of_n,
    "args": ARGS,
    "cards": CARDS,
    "treebon": TreeBoN,
    "gsi": GSI,
    "rsd": RSD,
    "stand": STAND,
}

METHODS = tuple(_METHODS)
"""The names that ``by_name`` knows."""


def by_name(spec: str, reward: Reward | None = None) -> Method:
    """The method of a name, with parameters or their defaults.

    Args:
        spec: A name of ``METHODS``, and after a colon parameters of the class by comma:
            "sss:strength=0.5,rule=paper", "best-of-n:n=16". Strengths of several shifts are joined
            by plus: "sss:strength=ours=1.5+plain=-0.5".
        reward: For those that need one.

    Raises:
        ValueError: If there is no such name or parameter, a value is out of range, or a reward is
            missing.
    """
    name, _, rest = spec.partition(":")
    name = name.strip()
    if name not in _METHODS:
        raise ValueError(f"there is no method {name!r}; there are {', '.join(METHODS)}")
    make = _METHODS[name]
    known = [p for p in inspect.signature(make).parameters if p != "reward"]
    given = _parameters(name, rest, known)
    if "reward" not in inspect.signature(make).parameters:
        return make(**given)
    if reward is None:
        raise ValueError(f"the method {name!r} needs a reward")
    return make(reward, **given)


def _parameters(name: str, text: str, known: list[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        key, equals, value = (piece.strip() for piece in part.partition("="))
        if not equals or key not in known:
            listed = ", ".join(known) or "none"
            raise ValueError(f"the method {name!r} has no parameter {part!r}; there are: {listed}")
        if key in found:
            raise ValueError(f"the method {name!r} is given {key!r} twice")
        found[key] = _by_name(value) if key == "strength" and "=" in value else _value(value)
    return found


def _by_name(text: str) -> dict[str, Any]:
    """The numbers of "ours=1.5+plain=-0.5"."""
    parts = (part.rpartition("=") for part in text.split("+"))
    return {name: _value(value) for name, _, value in parts}


def _value(text: str) -> int | float | bool | str | None:
    words: dict[str, bool | None] = {"true": True, "false": False, "none": None}
    if text.lower() in words:
        return words[text.lower()]
    for kind in (int, float):
        with suppress(ValueError):
            return kind(text)
    return text
