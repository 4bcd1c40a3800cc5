"""Models of real shapes with random weights, written in seconds: for measuring time, not text.

The blocks of a quantised matrix are random bytes; their scales are set so that weights have mean 0
and the size that a trained model's initialisation has. Types of tensors are those that llama.cpp's
quantiser would choose.

    python benchmarks/accelerator/random_gguf.py qwen2.5-1.5b model.gguf
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType, GGUFWriter, LlamaFileType, TokenType

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

Type = GGMLQuantizationType
LOGITS = 2.5  # their standard deviation
PRINTABLE = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
FILE_TYPES = {
    "F16": LlamaFileType.MOSTLY_F16,
    "Q8_0": LlamaFileType.MOSTLY_Q8_0,
    "Q4_0": LlamaFileType.MOSTLY_Q4_0,
    "Q4_K_M": LlamaFileType.MOSTLY_Q4_K_M,
}


@dataclass(frozen=True, kw_only=True)
class Shape:
    """Of an architecture, as its GGUF says it; ``quantised`` is one of FILE_TYPES."""

    arch: str
    n_vocab: int
    n_embd: int
    n_layer: int
    n_head: int
    n_head_kv: int
    n_ff: int
    quantised: str
    tied: bool = False
    rope_base: float = 10_000.0
    rms_eps: float = 1e-5


def trimmed(n_vocab: int) -> Shape:
    """A draft that costs as little as one can: two layers, and the vocabulary."""
    return Shape(
        arch="llama",
        n_vocab=n_vocab,
        n_embd=256,
        n_layer=2,
        n_head=4,
        n_head_kv=2,
        n_ff=768,
        quantised="Q8_0",
    )


SHAPES = {
    "qwen2.5-1.5b": Shape(
        arch="qwen2",
        n_vocab=151_936,
        n_embd=1536,
        n_layer=28,
        n_head=12,
        n_head_kv=2,
        n_ff=8960,
        quantised="Q4_K_M",
        tied=True,
        rope_base=1e6,
        rms_eps=1e-6,
    ),
    "qwen2.5-0.5b": Shape(  # 896 is no multiple of 256: the quantiser would fall back, too
        arch="qwen2",
        n_vocab=151_936,
        n_embd=896,
        n_layer=24,
        n_head=14,
        n_head_kv=2,
        n_ff=4864,
        quantised="Q8_0",
        tied=True,
        rope_base=1e6,
        rms_eps=1e-6,
    ),
    "llama-3-8b": Shape(
        arch="llama",
        n_vocab=128_256,
        n_embd=4096,
        n_layer=32,
        n_head=32,
        n_head_kv=8,
        n_ff=14_336,
        quantised="Q4_K_M",
        rope_base=5e5,
    ),
    "llama-3.2-1b": Shape(
        arch="llama",
        n_vocab=128_256,
        n_embd=2048,
        n_layer=16,
        n_head=32,
        n_head_kv=8,
        n_ff=8192,
        quantised="Q4_K_M",
        tied=True,
        rope_base=5e5,
    ),
    "trimmed-152k": trimmed(151_936),
    "trimmed-128k": trimmed(128_256),
    "small": Shape(  # to rehearse with, where there is no accelerator
        arch="qwen2",
        n_vocab=4096,
        n_embd=512,
        n_layer=4,
        n_head=8,
        n_head_kv=2,
        n_ff=1024,
        quantised="Q4_K_M",
    ),
    "trimmed-4k": trimmed(4096),
}


def write_random(path: Path, shape: Shape, *, seed: int = 0, quantised: str | None = None) -> None:
    """Writes a model; one tensor at a time is in memory.

    Args:
        path: The file.
        shape: Of the model.
        seed: Of the weights.
        quantised: Instead of the shape's.
    """
    kind = quantised or shape.quantised
    random = np.random.default_rng(seed)
    tensors = list(_tensors(shape, kind))
    writer = GGUFWriter(path, shape.arch)
    _add_architecture(writer, shape, FILE_TYPES[kind])
    _add_vocabulary(writer, shape.n_vocab)
    for name, (rows, columns), type_ in tensors:
        block, size = GGML_QUANT_SIZES[type_]
        dims = (columns,) if rows == 0 else (rows, columns)
        count = max(rows, 1) * columns // block * size
        writer.add_tensor_info(name, dims, np.dtype(np.float32), count, raw_dtype=type_)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    for name, (rows, columns), type_ in tensors:
        writer.write_tensor_data(_values(random, name, rows, columns, type_))
    writer.close()


def _tensors(shape: Shape, kind: str) -> Iterator[tuple[str, tuple[int, int], Type]]:
    """Names, (rows, columns) and types; rows 0 is a vector."""
    kv = shape.n_embd // shape.n_head * shape.n_head_kv
    usual = Type.Q4_K if kind == "Q4_K_M" else Type[kind]
    large = Type.Q6_K if kind == "Q4_K_M" else usual
    head = (shape.n_vocab, shape.n_embd)
    yield "token_embd.weight", head, large if shape.tied else usual
    yield "output_norm.weight", (0, shape.n_embd), Type.F32
    if not shape.tied:
        yield "output.weight", head, large
    for i in range(shape.n_layer):
        sensitive = large if _has_more_bits(i, shape.n_layer) else usual
        matrices = {
            "attn_q": (shape.n_embd, shape.n_embd, usual),
            "attn_k": (kv, shape.n_embd, usual),
            "attn_v": (kv, shape.n_embd, sensitive),
            "attn_output": (shape.n_embd, shape.n_embd, usual),
            "ffn_gate": (shape.n_ff, shape.n_embd, usual),
            "ffn_up": (shape.n_ff, shape.n_embd, usual),
            "ffn_down": (shape.n_embd, shape.n_ff, sensitive),
        }
        for name, (rows, columns, type_) in matrices.items():
            yield f"blk.{i}.{name}.weight", (rows, columns), type_
        for name in ("attn_norm", "ffn_norm"):
            yield f"blk.{i}.{name}.weight", (0, shape.n_embd), Type.F32
        if shape.arch == "qwen2":
            for name, size in {"attn_q": shape.n_embd, "attn_k": kv, "attn_v": kv}.items():
                yield f"blk.{i}.{name}.bias", (0, size), Type.F32


def _has_more_bits(layer: int, layers: int) -> bool:
    """As llama.cpp's quantiser chooses for Q4_K_M."""
    eighth = layers // 8
    return layer < eighth or layer >= 7 * layers // 8 or (layer - eighth) % 3 == 2


def _values(
    random: np.random.Generator, name: str, rows: int, columns: int, type_: Type
) -> NDArray[Any]:
    """Of one tensor, in its type's bytes."""
    if rows == 0:
        mean = 1.0 if "norm" in name else 0.0
        return (mean + 0.05 * random.standard_normal(columns)).astype(np.float32)
    makes_logits = name in ("output.weight", "token_embd.weight")
    size = (LOGITS if makes_logits else 1.0) * columns**-0.5
    if type_ == Type.F16:
        return (size * random.standard_normal((rows, columns), np.float32)).astype(np.float16)
    return _blocks(random, rows * columns, size, type_)


def _blocks(random: np.random.Generator, count: int, size: float, type_: Type) -> NDArray[np.uint8]:
    """Random quantised weights of standard deviation ``size`` and mean 0.

    A weight is d times what the random bits of its block say; that has the deviations below.
    """
    per_block, n_bytes = GGML_QUANT_SIZES[type_]
    blocks = count // per_block
    words = -(-blocks * n_bytes // 8)
    raw = random.integers(0, 2**64, words, np.uint64).view(np.uint8)
    made = raw[: blocks * n_bytes].reshape(blocks, n_bytes)
    # By type: where the half-precision scales are, and their factors.
    scales = {
        Type.Q8_0: {0: 1 / 73.9},  # q of -128 to 127
        Type.Q4_0: {0: 1 / 4.63},  # q - 8, q of 0 to 15; its mean is -0.5
        Type.Q4_K: {0: 1 / 258.0, 2: 7.5 / 258.0},  # s q - 7.5 m, with s and m of 0 to 63
        Type.Q6_K: {208: 1 / 1366.0},  # s (q - 32), with s of -128 to 127 and q of 0 to 63
    }[type_]
    for at, factor in scales.items():
        made[:, at : at + 2] = np.array([size * factor], np.float16).view(np.uint8)
    return made.reshape(-1)


def _add_architecture(writer: GGUFWriter, shape: Shape, kind: LlamaFileType) -> None:
    writer.add_context_length(8192)
    writer.add_embedding_length(shape.n_embd)
    writer.add_block_count(shape.n_layer)
    writer.add_feed_forward_length(shape.n_ff)
    writer.add_head_count(shape.n_head)
    writer.add_head_count_kv(shape.n_head_kv)
    writer.add_rope_dimension_count(shape.n_embd // shape.n_head)
    writer.add_rope_freq_base(shape.rope_base)
    writer.add_layer_norm_rms_eps(shape.rms_eps)
    writer.add_file_type(kind)


def _add_vocabulary(writer: GGUFWriter, size: int) -> None:
    """Byte-level BPE: chat markers, the 256 bytes, one merge, and words that no text becomes."""
    others = iter(range(0x100, 0x200))
    alphabet = [chr(byte if byte in PRINTABLE else next(others)) for byte in range(256)]
    plain = [*alphabet, "ab"]
    plain += [f"word{i}" for i in range(size - len(SPECIAL) - len(plain))]
    writer.add_vocab_size(size)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list([*SPECIAL, *plain])
    writer.add_token_types([TokenType.CONTROL] * len(SPECIAL) + [TokenType.NORMAL] * len(plain))
    writer.add_token_merges(["a b"])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(0)
    writer.add_add_bos_token(False)


def main() -> None:
    """Writes one file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("shape", choices=SHAPES)
    parser.add_argument("path", type=Path)
    parser.add_argument("--type", choices=FILE_TYPES, help="instead of the shape's usual one")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    shape = SHAPES[options.shape]
    write_random(options.path, shape, seed=options.seed, quantised=options.type)


if __name__ == "__main__":
    main()
