"""Stand-ins for model pairs of any cost ratio, made out of one GGUF file.

``sliced`` keeps some layers of a model: a draft that is cheaper, and bad. ``deepened`` adds layers
that add nothing (their attention and feed-forward outputs are zero, so the residual stream passes
through): a target that costs more and computes the very same function, for which the original is a
cheap draft with high acceptance.

    python benchmarks/slice_layers.py model.gguf shallow.gguf --keep 8
    python benchmarks/slice_layers.py model.gguf deep.gguf --total 120
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from gguf import GGUFReader, GGUFValueType, GGUFWriter

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gguf import ReaderField, ReaderTensor

LAYER = re.compile(r"blk\.(\d+)\.(.+)")
OUTPUTS = re.compile(r"(attn_output|ffn_down)\.")  # what a layer adds to the residual stream


def sliced(source: Path, path: Path, keep: int) -> Path:
    """Writes a model with ``keep`` of the layers of another, evenly spread over its depth.

    Raises:
        ValueError: If there are not so many layers.
    """
    layers = layer_count(source)
    if not 1 <= keep <= layers:
        raise ValueError(f"{keep} is not between 1 and the {layers} layers of {source}")
    chosen = np.linspace(0, layers - 1, keep).round().astype(int).tolist()
    return _write(source, path, chosen, own=keep)


def deepened(source: Path, path: Path, total: int) -> Path:
    """Writes a model of ``total`` layers that computes what the original does.

    Raises:
        ValueError: If the original has more layers.
    """
    layers = layer_count(source)
    if total < layers:
        raise ValueError(f"{total} is less than the {layers} layers of {source}")
    return _write(source, path, [i % layers for i in range(total)], own=layers)


def layer_count(source: Path) -> int:
    """How many layers a file has."""
    reader = GGUFReader(source)
    return int(reader.fields[_block_count_key(reader)].contents())


def _write(source: Path, path: Path, origins: Sequence[int], *, own: int) -> Path:
    """Layer i is a copy of ``origins[i]``; from ``own`` on, one that adds nothing."""
    reader = GGUFReader(source)
    writer = GGUFWriter(path, arch=reader.fields["general.architecture"].contents())
    layers = int(reader.fields[_block_count_key(reader)].contents())
    for field in reader.fields.values():
        _copy_field(writer, reader, field, layers, len(origins))
    by_layer: dict[int, list[tuple[str, ReaderTensor]]] = {}
    for tensor in reader.tensors:
        if found := LAYER.fullmatch(tensor.name):
            by_layer.setdefault(int(found[1]), []).append((found[2], tensor))
        else:
            writer.add_tensor(tensor.name, tensor.data, raw_dtype=tensor.tensor_type)
    for i, origin in enumerate(origins):
        for name, tensor in by_layer[origin]:
            data = tensor.data
            if i >= own and OUTPUTS.match(name):
                data = np.zeros_like(data)  # in every type, all bytes 0 are all weights 0
            writer.add_tensor(f"blk.{i}.{name}", data, raw_dtype=tensor.tensor_type)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _block_count_key(reader: GGUFReader) -> str:
    return f"{reader.fields['general.architecture'].contents()}.block_count"


def _copy_field(
    writer: GGUFWriter, reader: GGUFReader, field: ReaderField, layers: int, total: int
) -> None:
    if field.name.startswith("GGUF.") or field.name == "general.architecture":
        return  # the writer's own
    kind, value = field.types[0], field.contents()
    architecture = field.name.split(".")[0] == reader.fields["general.architecture"].contents()
    if kind == GGUFValueType.ARRAY and architecture and len(value) == layers:
        raise ValueError(f"{field.name} differs by layer, which this cannot do")
    if field.name == _block_count_key(reader):
        value = total
    writer.add_key_value(field.name, value, kind, field.types[-1] if len(field.types) > 1 else None)


def main() -> None:
    """Writes one file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", type=Path)
    parser.add_argument("path", type=Path)
    how = parser.add_mutually_exclusive_group(required=True)
    how.add_argument("--keep", type=int, help="this many layers, evenly spread")
    how.add_argument("--total", type=int, help="add layers that add nothing, up to this many")
    options = parser.parse_args()
    if options.keep is not None:
        sliced(options.source, options.path, options.keep)
    else:
        deepened(options.source, options.path, options.total)


if __name__ == "__main__":
    main()
