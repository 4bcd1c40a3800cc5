"""Tiny random GGUF encoders with a classification head: seeded and F32.

Shapes are (out, in), as in `tiny_gguf`; what they follow from are the loaders in llama.cpp's
`src/models`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import numpy as np
from gguf import GGUFWriter

from .tiny_gguf import TinyVocab, Weights, add_vocab, finish, normal, wordpiece_vocab

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

Encoder = Literal["bert", "jina-bert-v2", "modern-bert", "neo-bert"]
ENCODERS: tuple[Encoder, ...] = ("bert", "jina-bert-v2", "modern-bert", "neo-bert")
Shapes = dict[str, tuple[int, ...]]

EPS = 1e-5
ROPE_BASE = 10000.0


@dataclass(frozen=True, slots=True, kw_only=True)
class EncoderSpec:
    """What to write.

    Attributes:
        arch: `bert` has a table of positions, and a vector for each of its segments; `jina-bert-v2`
            weighs by distance and has one output behind a tanh; `modern-bert` rotates, and has
            windows in all layers but each third; `neo-bert` rotates, too.
        classes: Names of the head's outputs; without any there is one.
        dense: Whether a dense layer comes before the outputs.
        segments: Vectors for segments that the model knows (`bert` and `jina-bert-v2`).
        window: Positions that a windowed layer of `modern-bert` sees.
        mean: Whether the head of `modern-bert` reads the mean of all states, not the first one.
    """

    arch: Encoder = "bert"
    vocab: TinyVocab = field(default_factory=wordpiece_vocab)
    n_embd: int = 32
    n_layer: int = 3
    n_head: int = 4
    n_ff: int = 48
    n_ctx_train: int = 64
    seed: int = 0
    classes: tuple[str, ...] = ()
    dense: bool = True
    segments: int = 2
    window: int = 4
    mean: bool = True

    @property
    def outputs(self) -> int:
        """Of the head."""
        return max(len(self.classes), 1)


@dataclass(frozen=True, slots=True)
class TinyEncoder:
    """A written encoder: its file, and its weights by GGUF tensor name."""

    path: Path
    spec: EncoderSpec
    weights: Weights


def write_encoder(path: Path, spec: EncoderSpec, weights: Weights | None = None) -> TinyEncoder:
    """Writes an encoder that llama.cpp loads, with random weights unless they are given."""
    if weights is None:
        shapes = encoder_shapes(spec)
        weights = {name: _weight(spec.seed, name, shape) for name, shape in shapes.items()}
    writer = GGUFWriter(path, spec.arch)
    writer.add_context_length(spec.n_ctx_train)
    writer.add_embedding_length(spec.n_embd)
    writer.add_block_count(spec.n_layer)
    writer.add_feed_forward_length(spec.n_ff)
    writer.add_head_count(spec.n_head)
    writer.add_causal_attention(False)
    writer.add_layer_norm_eps(EPS)
    writer.add_layer_norm_rms_eps(EPS)
    writer.add_rope_freq_base(ROPE_BASE)
    writer.add_token_type_count(spec.segments)
    if spec.classes:
        writer.add_classifier_output_labels(spec.classes)
    if spec.arch == "modern-bert":
        writer.add_sliding_window(spec.window)
        writer.add_uint32("modern-bert.classifier.pooling_type", 1 if spec.mean else 2)
    add_vocab(writer, spec.vocab)
    finish(writer, weights)
    return TinyEncoder(path, spec, weights)


def encoder_shapes(spec: EncoderSpec) -> Shapes:
    """Names and shapes, (out, in), of all tensors that the architecture has."""
    width, inner = spec.n_embd, spec.n_ff
    shapes: Shapes = {"token_embd.weight": (len(spec.vocab.tokens), width)}
    if spec.arch in ("bert", "jina-bert-v2"):
        layer = _post_normed(spec)
        shapes |= {"token_types.weight": (spec.segments, width), **_norm("token_embd_norm", width)}
        if spec.arch == "bert":
            shapes["position_embd.weight"] = (spec.n_ctx_train, width)
    else:
        layer = {
            "attn_norm.weight": (width,),
            "attn_qkv.weight": (3 * width, width),
            "attn_output.weight": (width, width),
            "ffn_norm.weight": (width,),
            "ffn_up.weight": (2 * inner, width),
            "ffn_down.weight": (width, inner),
        }
        if spec.arch == "modern-bert":
            shapes |= {"token_embd_norm.weight": (width,), "output_norm.weight": (width,)}
        else:
            shapes["enc.output_norm.weight"] = (width,)
    shapes |= {
        f"blk.{i}.{name}": shape for i in range(spec.n_layer) for name, shape in layer.items()
    }
    if spec.arch == "modern-bert":  # whose first layer reads what is normalised already
        del shapes["blk.0.attn_norm.weight"]
    return shapes | _head(spec)


def _head(spec: EncoderSpec) -> Shapes:
    width = spec.n_embd
    if spec.arch == "jina-bert-v2":
        return {"cls.weight": (1, width), "cls.bias": (1,)}
    head: Shapes = {"cls.output.weight": (spec.outputs, width), "cls.output.bias": (spec.outputs,)}
    if not spec.dense:
        return head
    head["cls.weight"] = (width, width)
    if spec.arch == "modern-bert":
        return head | {"cls.norm.weight": (width,)}
    return head | {"cls.bias": (width,)}


def _norm(name: str, width: int) -> Shapes:
    return {f"{name}.weight": (width,), f"{name}.bias": (width,)}


def _post_normed(spec: EncoderSpec) -> Shapes:
    width, inner = spec.n_embd, spec.n_ff
    matrices = {f"attn_{part}": (width, width) for part in ("q", "k", "v", "output")}
    matrices |= {"ffn_up": (inner, width), "ffn_down": (width, inner)}
    layer: Shapes = {f"{name}.weight": shape for name, shape in matrices.items()}
    layer |= {f"{name}.bias": shape[:1] for name, shape in matrices.items()}
    if spec.arch == "jina-bert-v2":
        layer["ffn_gate.weight"] = (inner, width)
    return layer | _norm("attn_output_norm", width) | _norm("layer_output_norm", width)


def _weight(seed: int, name: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
    draw = normal(seed, name, shape)
    if name.endswith((".norm.weight", "_norm.weight")):
        draw = 1 + 0.1 * draw
    elif name.endswith(".bias"):
        draw *= 0.3
    elif "_embd" not in name and name != "token_types.weight":
        draw *= 1.5 / np.sqrt(shape[1])
    return draw.astype(np.float32)
