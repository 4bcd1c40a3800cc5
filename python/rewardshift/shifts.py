"""What shifts a target: pairs of readers by name, and how strongly a request wants each."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import KW_ONLY, dataclass
from numbers import Real
from os import PathLike
from typing import TYPE_CHECKING

from . import _core
from .boundary import NO_SEQUENCE, require_number, require_text, shown

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .sources.hub import StrPath

CLASSIC = "draft"
"""The name of the shift that ``Decoder(target, draft, reference)`` has."""

UNNAMED = "shift"
"""The name of a Shift that is given without one."""

Strength = float | Mapping[str, float] | None
"""A number for the only shift, numbers by shift (missing names are 0), or each shift's default."""


@dataclass(frozen=True, slots=True)
class Shift:
    """What shifts a target: a small aligned model and what it was before, or a head.

    What goes together: a ``draft`` and its ``reference``; one file and a ``lora`` that makes the
    draft of it; one file and a ``draft_system``, which only the draft sees; or a ``head`` alone.

    Attributes:
        draft: GGUF file of q, or its name on the hub.
        reference: GGUF file of r, likewise. One of the two serves as both where an adapter or a
            system message tells them apart.
        lora: GGUF file of a LoRA adapter: the draft is its file with the adapter.
        lora_scale: Factor on the adapter.
        draft_system: The system message that the draft sees in ``chat``, in place of any other.
        head: GGUF file of a head on the target's features, made for this very target: no second
            model decodes (PALC, ICLR 2026).
        strength: The exponent s of (q/r)^s where a request names none; 1 unless given, and of a
            head what its file says.
        foreign_strength: The same for a target of another vocabulary than the reference's; None is
            ``strength``.

    Raises:
        TypeError: For values of a wrong type.
        ValueError: If files are missing, or the strength is not finite.

    Example:
        >>> Shift("draft.gguf", "reference.gguf", strength=1.5).strength
        1.5
    """

    draft: StrPath | _core.LanguageModel | None = None
    reference: StrPath | _core.LanguageModel | None = None
    _: KW_ONLY
    lora: StrPath | None = None
    lora_scale: float = 1.0
    draft_system: str | None = None
    head: StrPath | _core.LanguageModel | None = None
    strength: float | None = None
    foreign_strength: float | None = None

    def __post_init__(self) -> None:
        """Checks that it is a pair, or a head."""
        require_files(draft=self.draft, reference=self.reference, lora=self.lora, head=self.head)
        require_number(lora_scale=self.lora_scale)
        if self.strength is None and self.head is None:
            object.__setattr__(self, "strength", 1.0)
        for name in ("strength", "foreign_strength"):
            if (value := getattr(self, name)) is None:
                continue
            require_number(**{name: value})
            if not math.isfinite(value):
                raise ValueError(f"{name} must be finite, not {value!r}")
        if self.draft_system is not None:
            require_text(draft_system=self.draft_system)
        if self.lora is None and self.lora_scale != 1:
            raise ValueError("lora_scale needs a lora")
        given = [model for model in (self.draft, self.reference) if model is not None]
        tells_apart = self.lora is not None or self.draft_system is not None
        is_pair = len(given) == 2 or bool(given and tells_apart)
        is_head = self.head is not None and not given and not tells_apart
        if is_head or (is_pair and self.head is None):
            return
        raise ValueError(
            "a Shift needs a draft and a reference, or one of them with a lora, or one of them "
            f"with a draft_system, or a head alone, not {self._given}"
        )

    def usual_strength(self, *, is_foreign: bool) -> float:
        """Where a request names none, by whether the target has another vocabulary."""
        if is_foreign and self.foreign_strength is not None:
            return self.foreign_strength
        return 1.0 if self.strength is None else self.strength

    @property
    def _given(self) -> str:
        names = ("draft", "reference", "lora", "draft_system", "head")
        return " and ".join(n for n in names if getattr(self, n) is not None) or "nothing"


def require_files(**given: object) -> None:
    """Raises TypeError, with the value, unless each is a file, a model or None."""
    for name, value in given.items():
        if value is not None and not isinstance(value, (str, PathLike, _core.LanguageModel)):
            raise TypeError(f"{name} must be a file, or its name on the hub, not {shown(value)}")


def shifts_by_name(
    shift: str | Shift | Iterable[str | Shift] | None,
    shifts: Mapping[str, Shift] | None,
    *,
    ready_made: Callable[[str], Shift],
) -> dict[str, Shift]:
    """What ``shift=`` or ``shifts=`` give.

    Args:
        shift: The name of a dial, a Shift, or several of these.
        shifts: By name.
        ready_made: Finds one by its name.

    Raises:
        TypeError: For what is neither.
        ValueError: If both are given, and for names that are given twice.
    """
    if shifts is not None:
        if shift is not None:
            raise ValueError("give shift or shifts, not both")
        return _checked(shifts)
    if shift is None:
        return {}
    is_one = isinstance(shift, (str, Shift))
    if not is_one and (not isinstance(shift, Iterable) or isinstance(shift, NO_SEQUENCE)):
        raise TypeError(f"shift must be a name, a Shift, or a list of them, not {shown(shift)}")
    found: dict[str, Shift] = {}
    for one in [shift] if isinstance(shift, (str, Shift)) else shift:
        if not isinstance(one, (str, Shift)):
            raise TypeError(f"shift must be a name, a Shift, or a list of them, not {shown(one)}")
        name = one if isinstance(one, str) else UNNAMED
        if name in found:
            raise ValueError(
                f"there are two shifts named {name!r}; give them names: shifts={{name: Shift(...)}}"
            )
        found[name] = ready_made(one) if isinstance(one, str) else one
    return found


def _checked(shifts: object) -> dict[str, Shift]:
    if not isinstance(shifts, Mapping):
        raise TypeError(f"shifts must map names to Shifts, not be {shown(shifts)}")
    for name, one in shifts.items():
        require_shift_name(name)
        if not isinstance(one, Shift):
            raise TypeError(f"shifts must map names to Shifts, not {name!r} to {shown(one)}")
    return dict(shifts)


def require_shift_name(name: object) -> None:
    """Raises TypeError or ValueError for what cannot be a shift's name."""
    if not isinstance(name, str):
        raise TypeError(f"names of shifts must be text, not {shown(name)}")
    if not name:
        raise ValueError("names of shifts cannot be empty")


def classic_pair(
    draft: StrPath | None,
    reference: StrPath | None,
    draft_lora: StrPath | None,
    draft_lora_scale: float | None,
) -> Shift | None:
    """The shift of ``Decoder(target, draft, reference, draft_lora=...)``; None without a reference.

    Raises:
        TypeError: For values of a wrong type.
        ValueError: If roles are missing that others need.
    """
    require_files(draft=draft, reference=reference, draft_lora=draft_lora)
    if draft_lora is not None:
        draft = reference if draft is None else draft
        if draft is None:
            raise ValueError("draft_lora needs a draft or a reference to adapt")
    elif draft_lora_scale is not None:
        raise ValueError("draft_lora_scale needs a draft_lora")
    if draft_lora_scale is not None:
        require_number(draft_lora_scale=draft_lora_scale)
    if reference is not None and draft is None:
        raise ValueError("a reference needs a draft, or a draft_lora, to be the reference of")
    if reference is None and draft_lora is None:
        return None
    scale = 1.0 if draft_lora_scale is None else draft_lora_scale
    return Shift(draft, reference, lora=draft_lora, lora_scale=scale)


def strengths_by_shift(strength: object, names: Sequence[str]) -> list[float]:
    """The exponent of each shift of a decoder, in its order, as a request gives ``strength``.

    None at all are each shift's default.

    Args:
        strength: As in ``Strength``.
        names: The decoder's shifts.

    Raises:
        TypeError: If it is none of these.
        ValueError: For a number where there are several shifts, or none, and for unknown names.
    """
    if strength is None:
        return []
    there_are = ", ".join(names)
    if isinstance(strength, Mapping):
        for name in strength:
            if name not in names:
                known = f"only {there_are}" if names else "none"
                raise ValueError(f"strength names {shown(name)}, and of shifts there are {known}")
        return [_exponent(f"strength of {name}", strength.get(name, 0.0)) for name in names]
    value = _exponent("strength", strength)
    if value == 0:
        return [0.0] * len(names)
    if not names:
        raise ValueError(
            f"strength {value:g} needs a draft and a reference; without them only 0 can be served"
        )
    if len(names) > 1:
        raise ValueError(
            f"strength {value:g} is for one shift, and here are several ({there_are}): name them, "
            f'as {{"{names[0]}": {value:g}}}'
        )
    return [value]


def _exponent(what: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{what} cannot be {shown(value)}")
    try:
        found = float(value)
    except OverflowError:
        found = math.inf
    if not math.isfinite(found):
        raise ValueError(f"{what} must be finite, not {shown(value)}")
    return found
