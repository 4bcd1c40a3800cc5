"""A transformer's forward pass in plain numpy: the oracle for logits, without a KV cache.

It computes in float64 what llama.cpp computes in float32 for `llama`, `qwen2`, `qwen3` and
`olmo2`. llama.cpp keeps keys and values in float16 unless told otherwise: compare with type_k and
type_v F32, or with a wider tolerance.

Kernels for weights of few bits round what they multiply them by, too. `rounded` does so here, to
see what that costs: it is given the weight's name and the activations.
"""

# mypy: disable-error-code="no-any-return"

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .tiny_gguf import TinyLora, TinyModel, TinySpec

Array = NDArray[np.float64]
Rounding = Callable[[str, Array], Array]
Multiplication = Callable[[Array, str], Array]


def logits(
    model: TinyModel,
    tokens: Sequence[int],
    *,
    lora: TinyLora | None = None,
    lora_scale: float = 1.0,
    rounded: Rounding | None = None,
) -> Array:
    """Logits after each of `tokens`, which begin at position 0.

    Args:
        model: The model.
        tokens: What it reads.
        lora: An adapter.
        lora_scale: Its strength.
        rounded: What a kernel makes of activations before it multiplies the named weight by them.

    Returns:
        Shape (len(tokens), n_vocab): row i is the law of the token after tokens[: i + 1].
    """
    weights = effective_weights(model, lora, lora_scale)
    times = _multiplication(weights, rounded)
    return times(states(model, tokens, weights, rounded), "output")


def class_probabilities(model: TinyModel, tokens: Sequence[int]) -> Array:
    """What the classification head says at the last of `tokens`: shape (classes,)."""
    weights = effective_weights(model, None, 1.0)
    return _softmax(weights["cls.output.weight"] @ states(model, tokens, weights)[-1])


def _multiplication(
    weights: dict[str, Array], rounded: Rounding | None, prefix: str = ""
) -> Multiplication:
    """How activations are multiplied by a weight, called by its name behind the prefix."""

    def times(x: Array, name: str) -> Array:
        name = f"{prefix}{name}.weight"
        return (x if rounded is None else rounded(name, x)) @ weights[name].T

    return times


def states(
    model: TinyModel,
    tokens: Sequence[int],
    weights: dict[str, Array],
    rounded: Rounding | None = None,
) -> Array:
    """What the output layer reads, after each of `tokens`: shape (len(tokens), n_embd).

    Arguments are those of `logits`; `weights` are the effective ones.
    """
    spec = model.spec
    x = weights["token_embd.weight"][np.asarray(tokens, dtype=np.int64)]
    for index in range(spec.n_layer):
        prefix = f"blk.{index}."
        layer = {k.removeprefix(prefix): v for k, v in weights.items() if k.startswith(prefix)}
        times = _multiplication(weights, rounded, prefix)
        window = spec.sliding_window if index % 2 == 0 else 0
        x = _block(x, layer, times, spec, window)
    return _rms_norm(x, weights["output_norm.weight"], spec.rms_eps)


def effective_weights(model: TinyModel, lora: TinyLora | None, scale: float) -> dict[str, Array]:
    """The model's weights with the adapter's update merged in."""
    weights: dict[str, Array] = {k: v.astype(np.float64) for k, v in model.weights.items()}
    if lora is None:
        return weights
    for target in {name.rpartition(".")[0] for name in lora.weights}:
        down, up = (lora.weights[f"{target}.lora_{x}"].astype(np.float64) for x in "ab")
        factor = scale * lora.alpha / len(down) if lora.alpha else scale
        weights[target] = weights[target] + factor * (up @ down)
    return weights


def _block(
    x: Array, layer: dict[str, Array], times: Multiplication, spec: TinySpec, window: int
) -> Array:
    if spec.arch == "olmo2":  # normalises what a sub-layer adds, not what it reads
        added = _attention(x, layer, times, spec, window)
        x = x + _rms_norm(added, layer["post_attention_norm.weight"], spec.rms_eps)
        added = _swiglu(x, times)
        return x + _rms_norm(added, layer["post_ffw_norm.weight"], spec.rms_eps)
    read = _rms_norm(x, layer["attn_norm.weight"], spec.rms_eps)
    x = x + _attention(read, layer, times, spec, window)
    return x + _swiglu(_rms_norm(x, layer["ffn_norm.weight"], spec.rms_eps), times)


def _attention(
    x: Array, layer: dict[str, Array], times: Multiplication, spec: TinySpec, window: int
) -> Array:
    query, key, value = (
        _project(times(x, name), layer, name, spec) for name in ("attn_q", "attn_k", "attn_v")
    )
    query, key = _rope(query, spec), _rope(key, spec)
    group = spec.n_head // spec.n_head_kv
    key, value = np.repeat(key, group, axis=1), np.repeat(value, group, axis=1)
    mixed = np.empty_like(query)
    for i in range(len(x)):  # each position reads only what it sees: a NaN beyond stays there
        seen = slice(max(0, i + 1 - window) if window else 0, i + 1)
        score = np.einsum("hd,jhd->hj", query[i], key[seen]) / np.sqrt(key.shape[-1])
        mixed[i] = np.einsum("hj,jhd->hd", _softmax(score), value[seen])
    return times(mixed.reshape(len(x), -1), "attn_output")


def _project(y: Array, layer: dict[str, Array], name: str, spec: TinySpec) -> Array:
    """One of q, k, v with its bias or norm where the architecture has it: (n, heads, n_dim)."""
    if f"{name}.bias" in layer:
        y = y + layer[f"{name}.bias"]
    norm = layer.get(f"{name}_norm.weight")
    n_dim = spec.n_embd // spec.n_head
    if norm is not None and spec.arch == "qwen3":  # of each head
        return _rms_norm(y.reshape(len(y), -1, n_dim), norm, spec.rms_eps)
    if norm is not None:
        y = _rms_norm(y, norm, spec.rms_eps)
    return y.reshape(len(y), -1, n_dim)


def _rope(x: Array, spec: TinySpec) -> Array:
    """Rotates pairs (0, 1), (2, 3), ... for `llama`, and (i, i + n_dim / 2) for the others."""
    half = x.shape[-1] // 2
    frequency = spec.rope_base ** (-np.arange(half) / half)
    angle = (np.arange(len(x))[:, None] * frequency)[:, None, :]
    cos, sin = np.cos(angle), np.sin(angle)
    if spec.arch == "llama":
        first, second = slice(0, None, 2), slice(1, None, 2)
    else:
        first, second = slice(0, half), slice(half, None)
    y = np.empty_like(x)
    y[..., first] = x[..., first] * cos - x[..., second] * sin
    y[..., second] = x[..., first] * sin + x[..., second] * cos
    return y


def _swiglu(x: Array, times: Multiplication) -> Array:
    gate, up = times(x, "ffn_gate"), times(x, "ffn_up")
    return times(gate / (1 + np.exp(-gate)) * up, "ffn_down")


def _rms_norm(x: Array, weight: Array, eps: float) -> Array:
    return x / np.sqrt((x * x).mean(axis=-1, keepdims=True) + eps) * weight


def _softmax(x: Array) -> Array:
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)
