"""What a decoder is made of, as its user names it: shifts by name, and a base."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

from rewardshift import _core
from rewardshift.boundary import require_number, shown
from rewardshift.readers import Pair, Reader, panel_of
from rewardshift.shifts import (
    CLASSIC,
    Shift,
    classic_pair,
    require_files,
    require_shift_name,
    shifts_by_name,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from rewardshift.readers import Panel
    from rewardshift.sources.hub import StrPath

ModelPair = tuple[_core.LanguageModel, _core.LanguageModel]
"""Draft and reference."""

ModelShift = ModelPair | _core.ShiftHeadModel
"""A pair, or a head on the target."""


class GivenFiles(NamedTuple):
    """Shifts and a base, in files.

    Attributes:
        shifts: By name.
        base: What drafts and shifts nothing.
        base_name: What errors and results call it.
    """

    shifts: dict[str, Shift]
    base: StrPath | None
    base_name: str


def given_files(
    draft: StrPath | None,
    reference: StrPath | None,
    *,
    draft_lora: StrPath | None,
    draft_lora_scale: float | None,
    shift: str | Shift | Iterable[str | Shift] | None,
    shifts: Mapping[str, Shift] | None,
    base: StrPath | None,
    ready_made: Callable[[str], Shift],
) -> GivenFiles:
    """Sorts the arguments of ``Decoder``.

    Raises:
        TypeError: For values of a wrong type.
        ValueError: If they do not go together.
    """
    pair = classic_pair(draft, reference, draft_lora, draft_lora_scale)
    named = shifts_by_name(shift, shifts, ready_made=ready_made)
    require_files(base=base)
    if draft is None and reference is None and draft_lora is None:
        return GivenFiles(named, base, "base")
    if shift is not None or shifts is not None:
        raise ValueError("give draft and reference, or shift, or shifts: one of the three")
    if pair is not None:
        return GivenFiles({CLASSIC: pair}, base, "base")
    if base is not None:
        raise ValueError("a draft without a reference only drafts, as a base: give draft or base")
    return GivenFiles({}, draft, "draft")


def given_models(
    target: _core.LanguageModel,
    draft: _core.LanguageModel | None,
    reference: _core.LanguageModel | None,
    *,
    shifts: Mapping[str, ModelShift] | None,
    base: _core.LanguageModel | None,
    strengths: Mapping[str, float] | None,
) -> tuple[Panel[_core.LanguageModel], dict[str, Shift]]:
    """The readers that the arguments of ``Decoder.from_models`` need, and the shifts.

    Raises:
        TypeError: If one is no model.
        ValueError: If they do not go together.
    """
    base_name = "base"
    pairs: dict[str, _Models] = {}
    if shifts is not None:
        if draft is not None or reference is not None:
            raise ValueError("give draft and reference, or shifts, not both")
        pairs = _checked_pairs(shifts)
    elif reference is not None:
        if draft is None:
            raise ValueError("a reference needs a draft to be the reference of")
        pairs = {CLASSIC: (draft, reference)}
    elif draft is not None:
        if base is not None:
            raise ValueError(
                "a draft without a reference only drafts, as a base: give draft or base"
            )
        base, base_name = draft, "draft"
    defaults = _strengths_of(pairs, strengths)
    panel = panel_of(
        target,
        {name: Pair(*models, float(defaults[name])) for name, models in pairs.items()},
        None if base is None else Reader(base_name, "base", base),
    )
    for reader in panel.readers:
        if not isinstance(reader.source, _core.LanguageModel):
            raise TypeError(
                f"the {reader.name} must be a model like TableModel, not {shown(reader.source)}"
            )
    return panel, {
        name: Shift(*models, strength=defaults[name])
        if models[1] is not None
        else Shift(head=models[0], strength=defaults[name])
        for name, models in pairs.items()
    }


_Models = tuple[_core.LanguageModel, _core.LanguageModel | None]
"""A draft and its reference, or a head."""


def _checked_pairs(shifts: object) -> dict[str, _Models]:
    found: dict[str, _Models] = {}
    if not isinstance(shifts, Mapping):
        raise TypeError(f"shifts must map names to pairs of models, not be {shown(shifts)}")
    for name, pair in shifts.items():
        require_shift_name(name)
        if isinstance(pair, _core.ShiftHeadModel):
            found[name] = (pair, None)
        elif isinstance(pair, (tuple, list)) and len(pair) == 2:
            found[name] = (pair[0], pair[1])
        else:
            raise TypeError(
                f"shifts must map names to pairs of models, not {name!r} to {shown(pair)}"
            )
    return found


def _strengths_of(
    pairs: Mapping[str, object], strengths: Mapping[str, float] | None
) -> dict[str, float]:
    found = dict.fromkeys(pairs, 1.0)
    if strengths is None:
        return found
    if not isinstance(strengths, Mapping):
        raise TypeError(f"strengths must map names to numbers, not be {shown(strengths)}")
    for name, strength in strengths.items():
        if name not in pairs:
            known = f"only {', '.join(pairs)}" if pairs else "none"
            raise ValueError(f"strengths names {shown(name)}, and of shifts there are {known}")
        require_number(**{f"strength of {name}": strength})
        found[name] = strength
    return found
