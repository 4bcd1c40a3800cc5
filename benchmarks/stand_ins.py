"""Stand-ins for models of any cost, made out of one GGUF file.

``sliced`` keeps some layers of a model: a draft that is cheaper, and bad. ``deepened`` adds layers
that add nothing (their attention and feed-forward outputs are zero, so the residual stream passes
through): a target that costs more and computes the very same function, for which the original is a
cheap draft with high acceptance. ``widened`` adds tokens, each two of the old ones written
together: the model is as sure of them as of its last token, for which usually nothing was trained,
so that it says what it said, and only its rows are longer.

    python benchmarks/stand_ins.py model.gguf shallow.gguf --keep 8
    python benchmarks/stand_ins.py model.gguf deep.gguf --total 120
    python benchmarks/stand_ins.py model.gguf wide.gguf --tokens 262144
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from gguf import GGUFReader, GGUFValueType, GGUFWriter, TokenType

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gguf import ReaderTensor

LAYER = re.compile(r"blk\.(\d+)\.(.+)")
TOKENS, TYPES, MERGES = (f"tokenizer.ggml.{what}" for what in ("tokens", "token_type", "merges"))
BY_TOKEN = ("token_embd.weight", "output.weight")
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


def widened(source: Path, path: Path, size: int) -> Path:
    """Writes the model with that many tokens.

    Raises:
        ValueError: If it has more already, or is no byte-level BPE.
    """
    reader = GGUFReader(source)
    if reader.fields["tokenizer.ggml.model"].contents() != "gpt2":
        raise ValueError(f"{source} has no byte-level BPE, which this is for")
    tokens: list[str] = reader.fields[TOKENS].contents()
    types: list[int] = reader.fields[TYPES].contents()
    if size < len(tokens):
        raise ValueError(f"{source} has {len(tokens)} tokens already, more than {size}")
    pairs = new_pairs(tokens, types, size - len(tokens))
    writer = GGUFWriter(path, arch=architecture_of(reader))
    instead = {
        TOKENS: [*tokens, *map("".join, pairs)],
        TYPES: [*types, *[int(TokenType.NORMAL)] * len(pairs)],
        MERGES: [*reader.fields[MERGES].contents(), *map(" ".join, pairs)],
        f"{architecture_of(reader)}.vocab_size": size,
    }
    copy_fields(writer, reader, instead)
    for tensor in reader.tensors:
        data = tensor.data
        if tensor.name in BY_TOKEN:
            data = np.concatenate([data, np.repeat(data[-1:], len(pairs), axis=0)])
        writer.add_tensor(tensor.name, data, raw_dtype=tensor.tensor_type)
    return finish(writer, path)


def new_pairs(tokens: list[str], types: list[int], count: int) -> list[tuple[str, str]]:
    """Pairs of tokens that are none together yet."""
    known = set(tokens)
    normal = [t for t, kind in zip(tokens, types, strict=True) if kind == TokenType.NORMAL]
    rng = np.random.default_rng(0)
    pairs: list[tuple[str, str]] = []
    while len(pairs) < count:
        first, second = (normal[i] for i in rng.integers(len(normal), size=2))
        if first + second not in known:
            known.add(first + second)
            pairs.append((first, second))
    return pairs


def layer_count(source: Path) -> int:
    """How many layers a file has."""
    reader = GGUFReader(source)
    return int(reader.fields[f"{architecture_of(reader)}.block_count"].contents())


def _write(source: Path, path: Path, origins: Sequence[int], *, own: int) -> Path:
    """Layer i is a copy of ``origins[i]``; from ``own`` on, one that adds nothing."""
    reader = GGUFReader(source)
    writer = GGUFWriter(path, arch=architecture_of(reader))
    key = f"{architecture_of(reader)}.block_count"
    _require_alike(reader, int(reader.fields[key].contents()))
    copy_fields(writer, reader, {key: len(origins)})
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
    return finish(writer, path)


def _require_alike(reader: GGUFReader, layers: int) -> None:
    """Raises ValueError where something is told layer by layer."""
    for field in reader.fields.values():
        is_own = field.name.startswith(f"{architecture_of(reader)}.")
        is_array = field.types[0] == GGUFValueType.ARRAY
        if is_own and is_array and len(field.contents()) == layers:
            raise ValueError(f"{field.name} differs by layer, which this cannot do")


# --- what rewriting a file takes ----------------------------------------------------------------


def architecture_of(reader: GGUFReader) -> str:
    """Its name in the file."""
    return str(reader.fields["general.architecture"].contents())


def copy_fields(writer: GGUFWriter, reader: GGUFReader, instead: Mapping[str, Any]) -> None:
    """Copies the metadata, some of it with other values."""
    for field in reader.fields.values():
        if field.name.startswith("GGUF.") or field.name == "general.architecture":
            continue  # the writer's own
        value = instead[field.name] if field.name in instead else field.contents()
        of_what = field.types[-1] if len(field.types) > 1 else None
        writer.add_key_value(field.name, value, field.types[0], of_what)


def finish(writer: GGUFWriter, path: Path) -> Path:
    """Writes what was added."""
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def main() -> None:
    """Writes one file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", type=Path)
    parser.add_argument("path", type=Path)
    how = parser.add_mutually_exclusive_group(required=True)
    how.add_argument("--keep", type=int, help="this many layers, evenly spread")
    how.add_argument("--total", type=int, help="add layers that add nothing, up to this many")
    how.add_argument("--tokens", type=int, help="add tokens, up to this many")
    options = parser.parse_args()
    if options.tokens is not None:
        widened(options.source, options.path, options.tokens)
    elif options.keep is not None:
        sliced(options.source, options.path, options.keep)
    else:
        deepened(options.source, options.path, options.total)


if __name__ == "__main__":
    main()
