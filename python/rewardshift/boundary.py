"""Where what users give meets the core: values in messages, refusals in plain words, pickling."""

from __future__ import annotations

import inspect
import operator
import reprlib
import warnings
from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from numbers import Integral, Real
from typing import TYPE_CHECKING, NoReturn, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

_REFUSAL = "incompatible function arguments"
"""What nanobind says of arguments that no overload takes, before it lists them all."""

NO_SEQUENCE = (str, bytes, bytearray, memoryview, AbstractSet, Mapping)
"""What can be iterated over and yet is no list of anything: one thing, or things in no order."""

_repr = reprlib.Repr()
_repr.maxstring = _repr.maxother = 80


def shown(value: object) -> str:
    """A value for a message, not too long."""
    return _repr.repr(value)


def described(value: object) -> str:
    """What kind of thing a value is, with the value, for a message."""
    if value is None:
        return "None"
    if isinstance(value, bool):
        kind = "a truth value"
    elif isinstance(value, (int, float)):
        kind = "a number"
    elif isinstance(value, str):
        kind = "text"
    elif isinstance(value, (bytes, bytearray)):
        kind = "bytes"
    elif isinstance(value, Mapping):
        kind = "a mapping"
    else:
        kind = f"of type {type(value).__name__}"
    return f"{kind} ({shown(value)})"


def half_a_pair(text: str) -> str | None:
    """What keeps a text from being Unicode, in words; None if nothing does."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        return (
            f"character {error.start} is {text[error.start]!r}, half of a pair, as comes of bytes "
            "that are not UTF-8"
        )
    return None


def called(what: str, function: Callable[..., T], /, **arguments: object) -> T:
    """Calls a function of the core, whose refusal of a value's type is a legible one.

    Args:
        what: The function's name, for whom it is to be legible.
        function: What to call.
        **arguments: What to call it with.

    Raises:
        TypeError: If it takes no such values; it names them.
    """
    try:
        return function(**arguments)
    except TypeError as error:
        if _REFUSAL not in str(error):
            raise
    given = ", ".join(f"{name}={shown(value)}" for name, value in arguments.items())
    raise TypeError(f"{what} cannot take {given}")


def warn(message: str, kind: type[Warning]) -> None:
    """Warns, and points at the line of the user's that led here."""
    depth = 0
    frame = inspect.currentframe()
    while frame is not None and frame.f_globals["__name__"].startswith("rewardshift."):
        frame = frame.f_back
        depth += 1
    warnings.warn(message, kind, stacklevel=depth + 1)


def require_truth(*, or_none: bool = False, **given: object) -> None:
    """Raises TypeError, with the value, unless each is True or False, or None where that may be."""
    for name, value in given.items():
        if not isinstance(value, bool) and not (or_none and value is None):
            raise TypeError(
                f"{name} must be True or False{' or None' if or_none else ''}, not {shown(value)}"
            )


def require_text(**given: object) -> None:
    """Raises TypeError, with the value, unless each is text."""
    for name, value in given.items():
        if not isinstance(value, str):
            raise TypeError(f"{name} must be text, not {shown(value)}")


def require_whole(**given: object) -> None:
    """Raises TypeError, with the value, unless each is a whole number."""
    for name, value in given.items():
        if isinstance(value, bool) or not isinstance(value, Integral):
            raise TypeError(f"{name} must be a whole number, not {shown(value)}")


def require_number(**given: object) -> None:
    """Raises TypeError, with the value, unless each is a real number."""
    for name, value in given.items():
        if isinstance(value, bool) or not isinstance(value, Real):
            raise TypeError(f"{name} must be a number, not {shown(value)}")


def token_ids(tokens: object, refusal: str) -> list[int]:
    """Token ids in their order.

    Args:
        tokens: Any iterable of whole numbers that has an order.
        refusal: How the error begins for what is none; the value follows.
    """
    if isinstance(tokens, Iterable) and not isinstance(tokens, NO_SEQUENCE):
        given = list(tokens)
        try:
            found = [operator.index(token) for token in given]
        except TypeError:
            found = None
        if found is not None and not any(isinstance(token, bool) for token in given):
            return found
    raise TypeError(f"{refusal} {shown(tokens)}")


class StaysHere:
    """What holds memory of the core, and so cannot be copied, pickled or sent to a process."""

    __slots__ = ()

    def __reduce__(self) -> NoReturn:
        """Says what to do instead."""
        name = type(self).__name__
        raise TypeError(
            f"a {name} stays in the process that made it, and cannot be pickled or copied: make "
            f"another {name} in the process that is to use it"
        )
