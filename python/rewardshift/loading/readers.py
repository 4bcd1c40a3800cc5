"""The readers of a decoder, from the files that its user named."""

from __future__ import annotations

from os import PathLike
from typing import TYPE_CHECKING

from rewardshift import _core
from rewardshift.boundary import shown, warn
from rewardshift.errors import LengthWarning
from rewardshift.readers import Lora, Pair, panel_of
from rewardshift.sources.hub import StrPath, local_path

from .models import ModelCache, name_for_core
from .vocabularies import with_vocabularies

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rewardshift.readers import Panel
    from rewardshift.shifts import Shift


def load_panel(
    target: StrPath,
    shifts: Mapping[str, Shift],
    base: StrPath | None,
    *,
    base_name: str = "base",
    options: tuple[_core.ModelOptions, _core.ContextOptions],
    progress: bool | None,
) -> Panel[_core.Model]:
    """Loads the files of a target, its shifts and a base, each once.

    Args:
        target: What to sample from.
        shifts: By name.
        base: What drafts apart from them.
        base_name: What that is called.
        options: Of files and of contexts.
        progress: Whether to show progress bars; None shows them on a terminal.

    Raises:
        ModelLoadError: If a file cannot be loaded or decoded with.
        TypeError: For what is no file.
        VocabularyMismatchError: If those of a shift's draft and its reference differ.
    """
    model_options, context_options = options
    cache = ModelCache(model_options, progress=progress)

    def load(what: str, file: object) -> _core.Model:
        if not isinstance(file, (str, PathLike)):
            raise TypeError(f"{what} must be a file, or its name on the hub, not {shown(file)}")
        return cache.get(file)

    def head_of(file: object) -> _core.HeadFile:
        if not isinstance(file, (str, PathLike)):
            raise TypeError(f"a head must be a file, or its name on the hub, not {shown(file)}")
        return _core.read_head(name_for_core(local_path(file, progress=progress)))

    def pair_of(shift: Shift) -> Pair[_core.Model]:
        if shift.head is not None:
            file = head_of(shift.head)
            strength = file.strength if shift.strength is None else shift.strength
            return Pair(sampled, None, strength, head=file.head)
        lora = None if shift.lora is None else local_path(shift.lora, progress=progress)
        return Pair(
            load("draft", shift.reference if shift.draft is None else shift.draft),
            load("reference", shift.draft if shift.reference is None else shift.reference),
            shift.usual_strength(is_foreign=False),
            None if lora is None else Lora(name_for_core(lora), shift.lora_scale),
        )

    sampled = load("target", target)
    pairs = {name: pair_of(shift) for name, shift in shifts.items()}
    drafting = None if base is None else load(base_name, base)
    panel = panel_of(sampled, pairs, drafting, base_name=base_name)
    for reader in panel.readers:
        reader.source.require_decodable()
    for shift in panel.shifts.values():
        if shift.reference is None:
            continue
        q, r = panel.readers[shift.draft], panel.readers[shift.reference]
        _core.require_same_vocabulary(q.source, q.name, r.source, r.name)
    panel = with_vocabularies(panel)
    panel = panel.at_strengths(
        {
            name: shift.usual_strength(is_foreign=True)
            if panel.readers[panel.shifts[name].draft].vocabulary is not None
            else panel.shifts[name].strength
            for name, shift in shifts.items()
        }
    )
    _warn_of_size(panel, context_options)
    return panel


def _warn_of_size(panel: Panel[_core.Model], options: _core.ContextOptions) -> None:
    """Warns of a context that requests as long as a reader was trained for could not fill."""
    for reader in panel.readers:
        trained = reader.source.facts.context_size_trained
        if 0 < trained * options.n_seq_max < options.n_ctx:
            warn(
                f"n_ctx={options.n_ctx} is more than {options.n_seq_max} requests at the same time "
                f"could fill with the {trained} tokens each that the {reader.name} was trained for",
                LengthWarning,
            )
