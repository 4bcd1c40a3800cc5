"""The models and contexts of a decoder's roles, from the files that its user named."""

from __future__ import annotations

from os import PathLike
from typing import TYPE_CHECKING, NamedTuple

from rewardshift import _core
from rewardshift.boundary import require_number, shown, warn
from rewardshift.errors import LengthWarning
from rewardshift.sources.hub import StrPath, local_path

from .contexts import Contexts, Lora
from .models import ModelCache, name_for_core

if TYPE_CHECKING:
    from collections.abc import Mapping


class LoadedRoles(NamedTuple):
    """The models by role, and what makes their contexts."""

    models: dict[str, _core.Model]
    contexts: Contexts


def load_roles(
    files: Mapping[str, StrPath | None],
    *,
    draft_lora_scale: float | None,
    options: tuple[_core.ModelOptions, _core.ContextOptions],
    progress: bool | None,
) -> LoadedRoles:
    """Loads the files of the roles, each once.

    Args:
        files: Of ``target``, ``draft``, ``reference`` and ``draft_lora``; None is not given.
        draft_lora_scale: Factor on the adapter; None is 1.
        options: Of files and of contexts.
        progress: Whether to show progress bars; None shows them on a terminal.

    Raises:
        ModelLoadError: If a file cannot be loaded or decoded with.
        TypeError: If the factor is no number.
        ValueError: If roles are missing that others need.
        VocabularyMismatchError: If the roles' vocabularies differ.
    """
    model_options, context_options = options
    target, draft, reference, draft_lora = (
        files[name] for name in ("target", "draft", "reference", "draft_lora")
    )
    for name, path in files.items():
        if path is not None and not isinstance(path, (str, PathLike)):
            raise TypeError(f"{name} must be a file, or its name on the hub, not {shown(path)}")
    if draft_lora is not None:
        draft = reference if draft is None else draft
        reference = draft if reference is None else reference
        if draft is None:
            raise ValueError("draft_lora needs a draft or a reference to adapt")
    elif draft_lora_scale is not None:
        raise ValueError("draft_lora_scale needs a draft_lora")
    if draft_lora_scale is not None:
        require_number(draft_lora_scale=draft_lora_scale)
    if reference is not None and draft is None:
        raise ValueError("a reference needs a draft, or a draft_lora, to be the reference of")

    lora = None if draft_lora is None else local_path(draft_lora, progress=progress)
    cache = ModelCache(model_options, progress=progress)
    paths = {"target": target, "draft": draft, "reference": reference}
    models = {role: cache.get(path) for role, path in paths.items() if path is not None}
    for role, model in models.items():
        model.require_decodable()
        _core.require_same_vocabulary(models["target"], "target", model, role)
    _warn_of_size(models, context_options)
    scale = 1.0 if draft_lora_scale is None else draft_lora_scale
    adapter = None if lora is None else Lora(name_for_core(lora), scale)
    return LoadedRoles(models, Contexts(models, context_options, lora=adapter))


def _warn_of_size(models: Mapping[str, _core.Model], options: _core.ContextOptions) -> None:
    """Warns of a context that requests as long as a role was trained for could not fill."""
    for role, model in models.items():
        trained = model.facts.context_size_trained
        if 0 < trained * options.n_seq_max < options.n_ctx:
            warn(
                f"n_ctx={options.n_ctx} is more than {options.n_seq_max} requests at the same time "
                f"could fill with the {trained} tokens each that the {role} was trained for",
                LengthWarning,
            )
