"""The readers of a decoder, from the files that its user named."""

from __future__ import annotations

from os import PathLike
from typing import TYPE_CHECKING

from rewardshift import _core
from rewardshift.boundary import shown, warn
from rewardshift.errors import LengthWarning, ModelLoadError
from rewardshift.readers import Lora, Pair, Reader, panel_of
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
        base: What drafts apart from them: a model, or a head of the target.
        base_name: What that is called.
        options: Of files and of contexts.
        progress: Whether to show progress bars; None shows them on a terminal.

    Raises:
        ModelLoadError: If a file cannot be loaded or decoded with.
        TypeError: For what is no file.
        VocabularyMismatchError: If those of a shift's draft and its reference differ.
    """
    files = _Files(ModelCache(options[0], progress=progress), progress=progress)
    sampled = files.model("target", target)
    pairs = {name: files.pair_of(shift, sampled) for name, shift in shifts.items()}
    drafting = None if base is None else files.base_of(base, sampled, name=base_name)
    panel = panel_of(sampled, pairs, drafting)
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
    _warn_of_size(panel, options[1])
    return panel


class _Files:
    """Loads files, each once."""

    def __init__(self, models: ModelCache, *, progress: bool | None) -> None:
        self._models = models
        self._progress = progress

    def model(self, what: str, file: object) -> _core.Model:
        """A model by its file."""
        return self._models.get(_named(what, file))

    def head(self, file: object) -> _core.HeadFile:
        """A head of either kind."""
        return _core.read_head(self._path("a head", file))

    def pair_of(self, shift: Shift, target: _core.Model) -> Pair[_core.Model]:
        """What a shift is made of."""
        if shift.head is not None:
            found = self.head(shift.head)
            if isinstance(found.head, _core.BaseHead):
                raise ModelLoadError(
                    f"{shift.head} is a head that drafts, and no shift: give it as a base"
                )
            strength = found.strength if shift.strength is None else shift.strength
            return Pair(target, None, strength, head=found.head)
        lora = None if shift.lora is None else self._path("lora", shift.lora)
        return Pair(
            self.model("draft", shift.reference if shift.draft is None else shift.draft),
            self.model("reference", shift.draft if shift.reference is None else shift.reference),
            shift.usual_strength(is_foreign=False),
            None if lora is None else Lora(lora, shift.lora_scale),
        )

    def base_of(self, file: object, target: _core.Model, *, name: str) -> Reader[_core.Model]:
        """A base: a model, or a head of the target."""
        if not _core.is_head_file(self._path(name, file)):
            return Reader(name, "base", self.model(name, file))
        found = self.head(file).head
        if isinstance(found, _core.BaseHead):
            return Reader(name, "base", target, head=found)
        raise ModelLoadError(
            f"{file} is a head that shifts, and drafts nothing: give it as a shift"
        )

    def _path(self, what: str, file: object) -> str:
        return name_for_core(local_path(_named(what, file), progress=self._progress))


def _named(what: str, file: object) -> StrPath:
    """Raises TypeError for what is no file's name."""
    if isinstance(file, (str, PathLike)):
        return file
    raise TypeError(f"{what} must be a file, or its name on the hub, not {shown(file)}")


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
