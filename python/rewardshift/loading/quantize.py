"""Writing a model again with other types of weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rewardshift import _core
from rewardshift.boundary import called, require_truth, require_whole
from rewardshift.files.atomic import replacing
from rewardshift.files.paths import given_path, require_folder
from rewardshift.sources.hub import local_path

from .models import name_for_core
from .watched import watched

if TYPE_CHECKING:
    from pathlib import Path

    from rewardshift.sources.hub import StrPath


def type_named(name: str) -> str:
    """A type of weights as llama.cpp calls it, by its name in any case.

    Raises:
        ValueError: If there is no such type.
    """
    kind = str(name).upper()
    if kind not in (known := _core.quantization_types()):
        raise ValueError(f"there is no type {name!r}; choose one of {', '.join(known)}")
    return kind


def quantize(
    source: StrPath,
    destination: StrPath,
    type: str,  # noqa: A002 - as everybody calls it
    *,
    n_threads: int | None = None,
    allow_requantize: bool = False,
    overwrite: bool = False,
    progress: bool | None = None,
) -> Path:
    """Writes a GGUF file again with weights of another type, by llama.cpp's quantiser.

    The destination appears only when it is whole: Ctrl-C, which ends this at the next tensor, and
    failures leave what was there before.

    Args:
        source: The file, or its name on the hub as in ``rewardshift.hub``.
        destination: The file to write.
        type: Such as "Q4_0", in any case; ``rewardshift quantize --help`` lists them.
        n_threads: Threads to compute with; None takes all cores.
        allow_requantize: Whether weights that are quantised already may be quantised again. That
            loses more than quantising the original would.
        overwrite: Whether to replace a destination that exists.
        progress: Whether to show a progress bar on stderr; None shows it on a terminal.

    Returns:
        The destination.

    Raises:
        ValueError: If there is no such type, or the destination is the source.
        FileExistsError: If the destination exists and is not to be overwritten.
        FileNotFoundError: If there is no folder to write it to.
        IsADirectoryError: If it is a directory.
        ModelLoadError: If the source cannot be read, or not be quantised so.
        Error: If the destination cannot be written, as on a full disk.
    """
    require_truth(allow_requantize=allow_requantize, overwrite=overwrite)
    require_truth(progress=progress, or_none=True)
    if n_threads is not None:
        require_whole(n_threads=n_threads)
    target, kind = given_path(destination), type_named(type)
    name_for_core(target)  # which says now if that can be none
    original = local_path(source, progress=progress)
    if target.is_dir():
        raise IsADirectoryError(f"{target} is a directory; name the file to write")
    if target.exists():
        if original.exists() and target.samefile(original):
            raise ValueError(f"a model cannot be written over itself: {target}")
        if not overwrite:
            raise FileExistsError(f"{target} exists already; overwrite=True replaces it")
    require_folder(target)
    threads = _core.usable_cores() if n_threads is None else n_threads
    with replacing(target) as fresh:
        arguments = {
            "source": name_for_core(original),
            "destination": name_for_core(fresh),
            "type": kind,
            "n_threads": threads,
            "allow_requantize": allow_requantize,
        }

        def write(monitor: _core.Monitor) -> None:
            called("quantize", _core.quantize, **arguments, monitor=monitor)

        watched(write, f"quantising {original.name} to {kind}", progress=progress)
    return target
