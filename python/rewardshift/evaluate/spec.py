"""Methods as the command line names them: "sss:strength=0.5,rule=paper"."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from rewardshift.methods import by_name

if TYPE_CHECKING:
    from rewardshift.methods import Method
    from rewardshift.rewards import Reward

BEST_OF_N, SSS, TARGET = "best-of-n", "sss", "target"


def split_spec(spec: str) -> tuple[str, dict[str, str]]:
    """The method's kind, and its parameters as they were written.

    Raises:
        ValueError: If a parameter has no value.
    """
    kind, _, rest = spec.partition(":")
    parameters = {}
    for part in rest.split(",") if rest else ():
        name, equals, value = part.partition("=")
        if not (name and equals and value):
            raise ValueError(f"{spec!r}: a parameter is name=value, not {part!r}")
        parameters[name] = value
    return kind, parameters


def best_of(spec: str) -> int | None:
    """N of a Best-of-N; None of any other method."""
    kind, parameters = split_spec(spec)
    return int(parameters.get("n", "8")) if kind == BEST_OF_N else None


def strength_of(spec: str) -> float | None:
    """The strength of an SSS; None of any other method."""
    kind, parameters = split_spec(spec)
    return float(parameters.get("strength", "1")) if kind == SSS else None


def rule_of(spec: str) -> str | None:
    """The rule of an SSS; None of any other method."""
    kind, parameters = split_spec(spec)
    return parameters.get("rule", "exact") if kind == SSS else None


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
