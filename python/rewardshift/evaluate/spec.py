"""Methods as the command line names them: "sss:strength=0.5,rule=paper"."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from rewardshift.methods import SSS, BestOfN, by_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rewardshift.methods import Method
    from rewardshift.rewards import Exchange, Reward

TARGET = "target"


def best_of(spec: str) -> int | None:
    """N of a Best-of-N that takes the best; None of any other method, the soft one included."""
    method = _known(spec)
    return method.n if isinstance(method, BestOfN) and method.beta is None else None


def strength_of(spec: str) -> float | None:
    """The strength of an SSS, where it is one number; None of any other method."""
    method = _known(spec)
    if not isinstance(method, SSS) or not isinstance(method.strength, (int, float)):
        return None
    return float(method.strength)


def rule_of(spec: str) -> str | None:
    """The rule of an SSS; None of any other method."""
    method = _known(spec)
    return method.rule if isinstance(method, SSS) else None


def _known(spec: str) -> Method | None:
    """The method of a name, to look at; None where the name is a user's own."""
    try:
        return by_name(spec, _unasked)
    except ValueError:
        return None


def _unasked(exchanges: Sequence[Exchange]) -> list[float]:
    """The reward of a method that answers nothing."""
    return [0.0] * len(exchanges)


def method_of(spec: str, reward: Reward) -> Method:
    """The method of a name.

    Args:
        spec: As ``rewardshift.methods.by_name`` takes it, or "module.function": a function without
            arguments that makes a method of the user's own.
        reward: For methods that choose by one.

    Raises:
        ValueError: If there is no such method.
    """
    module, dot, function = spec.rpartition(".")
    if not dot or ":" in spec:  # a parameter may have a point in it
        return by_name(spec, reward)
    try:
        made: Method = getattr(import_module(module), function)()
    except (ImportError, AttributeError) as error:
        raise ValueError(f"method {spec}: {error}") from None
    return made
