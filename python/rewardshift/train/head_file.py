"""Files of heads, whatever they are for: GGUF, with matrices in whole numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from gguf import GGUFReader, GGUFWriter

from rewardshift.files.atomic import replacing

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray
    from torch import Tensor

ARCHITECTURE = "rewardshift-head"
_LEVELS = 127  # of the larger sign


def whole_numbers(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Rows in whole numbers from −127 to 127, and the scale of each, which may be 0."""
    scale = rows.abs().amax(1) / _LEVELS
    inverse = torch.where(scale > 0, 1 / scale, 0.0)
    return (rows * inverse[:, None]).round().clamp(-_LEVELS, _LEVELS), scale


def rounded(rows: Tensor) -> Tensor:
    """Rows of a matrix as they are written: whole numbers times the row's scale."""
    numbers, scale = whole_numbers(rows.detach())
    return numbers * scale[:, None]


def write_head_file(
    path: Path,
    *,
    kind: str,
    name: str,
    target: Path,
    numbers: Mapping[str, int | float],
    tensors: Mapping[str, NDArray[Any]],
) -> None:
    """Writes a head; the file appears when it is whole.

    Args:
        path: GGUF.
        kind: What the head is for.
        name: For people.
        target: GGUF whose states it reads.
        numbers: Keys of the architecture, float32 or uint32.
        tensors: By name; matrices as numpy has them.
    """
    with replacing(path) as fresh:
        writer = GGUFWriter(fresh, ARCHITECTURE)
        writer.add_name(name)
        writer.add_string(f"{ARCHITECTURE}.kind", kind)
        writer.add_string(f"{ARCHITECTURE}.target", _name_of(target))
        for key, number in numbers.items():
            add = writer.add_float32 if isinstance(number, float) else writer.add_uint32
            add(f"{ARCHITECTURE}.{key}", number)
        for tensor_name, values in tensors.items():
            writer.add_tensor(tensor_name, values)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()


def _name_of(target: Path) -> str:
    """What a GGUF calls its model; else the file's name."""
    field = GGUFReader(target).fields.get("general.name")
    return target.name if field is None else str(field.contents())
