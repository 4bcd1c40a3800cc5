"""Loading GGUF files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rewardshift import _core
from rewardshift.boundary import shown
from rewardshift.errors import ModelLoadError
from rewardshift.sources.hub import StrPath, local_path

from .watched import watched

if TYPE_CHECKING:
    from pathlib import Path


def load_model(
    path: StrPath, options: _core.ModelOptions | None = None, *, progress: bool | None = None
) -> _core.Model:
    """Loads a GGUF file.

    Args:
        path: The file, or its name on the hub as in ``rewardshift.hub``.
        options: How to load it.
        progress: Whether to show a progress bar; None shows it on a terminal.

    Raises:
        ModelLoadError: If the file cannot be loaded.
    """
    file = local_path(path, progress=progress)

    name = name_for_core(file)

    def load(monitor: _core.Monitor) -> _core.Model:
        return _core.Model.load(name, options or _core.ModelOptions(), monitor)

    return watched(load, f"loading {file.name}", progress=progress)


def name_for_core(file: Path) -> str:
    """A path as the core takes it.

    Raises:
        ModelLoadError: If it is not UTF-8.
    """
    name = str(file)
    try:
        name.encode()
    except UnicodeEncodeError:
        raise ModelLoadError(
            f"{shown(name)}: the name of this file is not UTF-8; rename it, or link to it"
        ) from None
    return name


class ModelCache:
    """Loads each file once: roles that name the same file share its weights."""

    def __init__(self, options: _core.ModelOptions, *, progress: bool | None) -> None:
        """Arguments as ``load_model``."""
        self._options = options
        self._progress = progress
        self._models: dict[Path, _core.Model] = {}

    def get(self, path: StrPath) -> _core.Model:
        """The model of a file, loaded now or earlier."""
        file = local_path(path, progress=self._progress)
        key = file.resolve()
        if key not in self._models:
            self._models[key] = load_model(file, self._options, progress=self._progress)
        return self._models[key]
