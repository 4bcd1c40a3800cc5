"""An encoder's forward pass and its head in plain numpy, in float64: the oracle for their scores.

llama.cpp takes GELU for its approximation by tanh, as `gelu_new` in transformers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from .tiny_encoder import EPS, ROPE_BASE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .tiny_encoder import EncoderSpec, TinyEncoder

Array = NDArray[np.float64]


def head_outputs(model: TinyEncoder, tokens: Sequence[int], segments: Sequence[int]) -> Array:
    """What the head says of a text.

    Args:
        model: The encoder.
        tokens: All that it reads.
        segments: Of each token, which vector is added to it, where the model has such.
    """
    weights = {name: value.astype(np.float64) for name, value in model.weights.items()}
    spec = model.spec
    x = weights["token_embd.weight"][list(tokens)]
    if spec.arch in ("bert", "jina-bert-v2"):
        x = x + weights["token_types.weight"][list(segments)]
    if spec.arch == "bert":
        x = x + weights["position_embd.weight"][: len(x)]
    x = _normed(x, weights, "token_embd_norm", spec)
    for index in range(spec.n_layer):
        prefix = f"blk.{index}."
        layer = {k.removeprefix(prefix): v for k, v in weights.items() if k.startswith(prefix)}
        is_windowed = spec.arch == "modern-bert" and index % 3 != 0
        x = _layer(x, layer, spec, spec.window if is_windowed else None)
    x = _normed(_normed(x, weights, "output_norm", spec), weights, "enc.output_norm", spec)
    return _head(x, weights, spec)


def _head(states: Array, weights: dict[str, Array], spec: EncoderSpec) -> Array:
    is_mean = spec.arch == "modern-bert" and spec.mean
    x = states.mean(axis=0) if is_mean else states[0]
    if "cls.weight" in weights:
        activation = _gelu if spec.arch == "modern-bert" else np.tanh
        x = _normed(activation(_times(x, weights, "cls")), weights, "cls.norm", spec)
    return _times(x, weights, "cls.output") if "cls.output.weight" in weights else x


def _layer(x: Array, layer: dict[str, Array], spec: EncoderSpec, window: int | None) -> Array:
    if spec.arch in ("bert", "jina-bert-v2"):  # normalises after adding
        x = _normed(x + _attention(x, layer, spec, window), layer, "attn_output_norm", spec)
        return _normed(x + _feed_forward(x, layer, spec), layer, "layer_output_norm", spec)
    x = x + _attention(_normed(x, layer, "attn_norm", spec), layer, spec, window)
    return x + _feed_forward(_normed(x, layer, "ffn_norm", spec), layer, spec)


def _attention(x: Array, layer: dict[str, Array], spec: EncoderSpec, window: int | None) -> Array:
    if "attn_qkv.weight" in layer:
        query, key, value = np.split(_times(x, layer, "attn_qkv"), 3, axis=-1)
    else:
        query, key, value = (_times(x, layer, f"attn_{part}") for part in "qkv")
    query, key, value = (part.reshape(len(x), spec.n_head, -1) for part in (query, key, value))
    if spec.arch in ("modern-bert", "neo-bert"):
        query, key = (_rotated(part, in_pairs=spec.arch == "neo-bert") for part in (query, key))
    scores = np.einsum("ihd,jhd->hij", query, key) / np.sqrt(query.shape[-1])
    distance = np.abs(np.subtract.outer(np.arange(len(x)), np.arange(len(x))))
    if spec.arch == "jina-bert-v2":
        slopes = 2.0 ** (-8 / spec.n_head * np.arange(1, spec.n_head + 1))
        scores = scores - slopes[:, None, None] * distance
    if window is not None:
        scores = np.where(distance <= window // 2, scores, -np.inf)
    weight = np.exp(scores - scores.max(axis=-1, keepdims=True))
    weight /= weight.sum(axis=-1, keepdims=True)
    mixed = np.einsum("hij,jhd->ihd", weight, value)
    return _times(mixed.reshape(len(x), -1), layer, "attn_output")


def _rotated(x: Array, *, in_pairs: bool) -> Array:
    """Rotates pairs (0, 1), (2, 3), ..., or (i, i + n_dim / 2)."""
    half = x.shape[-1] // 2
    angle = np.arange(len(x))[:, None, None] * ROPE_BASE ** (-np.arange(half) / half)
    first, second = (
        (slice(0, None, 2), slice(1, None, 2))
        if in_pairs
        else (
            slice(0, half),
            slice(half, None),
        )
    )
    y = np.empty_like(x)
    y[..., first] = x[..., first] * np.cos(angle) - x[..., second] * np.sin(angle)
    y[..., second] = x[..., first] * np.sin(angle) + x[..., second] * np.cos(angle)
    return y


def _feed_forward(x: Array, layer: dict[str, Array], spec: EncoderSpec) -> Array:
    up = _times(x, layer, "ffn_up")
    if spec.arch == "bert":
        return _times(_gelu(up), layer, "ffn_down")
    if spec.arch == "jina-bert-v2":
        return _times(_gelu(_times(x, layer, "ffn_gate")) * up, layer, "ffn_down")
    gate, up = np.split(up, 2, axis=-1)
    gate = _gelu(gate) if spec.arch == "modern-bert" else gate / (1 + np.exp(-gate))
    return _times(gate * up, layer, "ffn_down")


def _times(x: Array, weights: dict[str, Array], name: str) -> Array:
    product = x @ weights[f"{name}.weight"].T
    return product + weights.get(f"{name}.bias", 0.0)


def _normed(x: Array, weights: dict[str, Array], name: str, spec: EncoderSpec) -> Array:
    """As it is where there is no such norm."""
    if f"{name}.weight" not in weights:
        return x
    if spec.arch != "neo-bert":
        x = x - x.mean(axis=-1, keepdims=True)
    x = x / np.sqrt((x * x).mean(axis=-1, keepdims=True) + EPS)
    return x * weights[f"{name}.weight"] + weights.get(f"{name}.bias", 0.0)


def _gelu(x: Array) -> Array:
    return x / 2 * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))
