"""Random heads on a target's features, their files, and what they say, in numpy: a ``Head`` shifts,
a ``BaseHead`` drafts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from gguf import GGMLQuantizationType, GGUFWriter

from rewardshift import _core

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True)
class Head:
    """The weights of a head."""

    down: NDArray[np.float32]
    bias: NDArray[np.float32]
    up: NDArray[np.int8]
    scale: NDArray[np.float32]

    @classmethod
    def random(cls, features: int, vocab: int, *, rank: int = 3, seed: int = 0) -> Head:
        rng = np.random.default_rng(seed)
        return cls(
            rng.normal(size=(rank, features)).astype(np.float32),
            rng.normal(size=rank).astype(np.float32),
            rng.integers(-127, 128, size=(rank, vocab)).astype(np.int8),
            (rng.uniform(0.5, 1, size=vocab) / 127).astype(np.float32),
        )

    def rows(self, features: ArrayLike) -> NDArray[np.float64]:
        """lambda by token, after each of the features."""
        h = np.asarray(features, dtype=np.float64)
        hidden = np.tanh(h @ self.down.T.astype(np.float64) + self.bias)
        product: NDArray[np.float64] = hidden @ self.up.astype(np.float64) * self.scale
        return product

    def core(self) -> _core.ShiftHead:
        return _core.ShiftHead(self.down, self.bias, self.up, self.scale)

    def write(self, path: Path, *, kind: str = "shift", **changed: object) -> Path:
        """As a file; what is changed replaces a key, or a tensor."""
        sizes = {
            "rank": self.down.shape[0],
            "feature_length": self.down.shape[1],
            "vocab_size": self.up.shape[1],
        }
        tensors = {
            "down.weight": self.down,
            "down.bias": self.bias,
            "up.weight": self.up,
            "up.scale": self.scale,
        }
        return _write(path, kind, sizes, tensors, changed)


@dataclass(frozen=True)
class Bytes:
    """A matrix in whole numbers, [in, out], and the scale of each column."""

    numbers: NDArray[np.int8]
    scale: NDArray[np.float32]

    @classmethod
    def random(cls, rng: np.random.Generator, rows: int, columns: int) -> Bytes:
        numbers = rng.integers(-127, 128, size=(rows, columns)).astype(np.int8)
        spread = 2 / np.sqrt(rows) / 127
        return cls(numbers, (rng.uniform(0.5, 1, size=columns) * spread).astype(np.float32))

    @property
    def weights(self) -> NDArray[np.float64]:
        product: NDArray[np.float64] = self.numbers.astype(np.float64) * self.scale
        return product


@dataclass(frozen=True)
class BaseHead:
    """The weights of a head that drafts."""

    vocab: int
    tokens: NDArray[np.int32]
    output: Bytes
    input_scale: NDArray[np.float32]
    mix: Bytes
    mix_bias: NDArray[np.float32]
    out: Bytes
    out_bias: NDArray[np.float32]
    keep: NDArray[np.float32]

    @classmethod
    def random(
        cls, features: int, vocab: int, *, known: int | None = None, seed: int = 0, hidden: int = 7
    ) -> BaseHead:
        """Of a head that knows so many tokens, all unless given."""
        rng = np.random.default_rng(seed)
        tokens = np.sort(rng.permutation(vocab)[: known or vocab]).astype(np.int32)
        return cls(
            vocab,
            tokens,
            Bytes.random(rng, features, len(tokens)),
            rng.uniform(0.5, 1.5, size=2 * features).astype(np.float32),
            Bytes.random(rng, 2 * features, hidden),
            rng.normal(size=hidden).astype(np.float32),
            Bytes.random(rng, hidden, features),
            rng.normal(size=features).astype(np.float32),
            rng.uniform(size=features).astype(np.float32),
        )

    def row(
        self, features: Mapping[int, ArrayLike], history: Sequence[int], drafts: int
    ) -> NDArray[np.float64]:
        """Logits after a history whose last tokens are drafts.

        Args:
            features: By length of what was read, at least of all but the drafts and a token.
            history: Of at least one token.
            drafts: How many of them.
        """
        first = max(len(history) - drafts, 1)
        z = np.zeros(self.output.numbers.shape[0])
        if first > 1:
            z = z + np.asarray(features[first - 1], dtype=np.float64)
        for token in history[first - 1 :]:
            z = self._step(z, token)
        row = np.full(self.vocab, -np.inf)
        row[self.tokens] = z @ self.output.weights
        return row

    def _step(self, z: NDArray[np.float64], token: int) -> NDArray[np.float64]:
        embedding = np.zeros_like(z)
        if token in self.tokens:
            embedding = self.output.weights[:, int(np.searchsorted(self.tokens, token))]
        u = np.concatenate([z, embedding]) * self.input_scale
        a = u @ self.mix.weights + self.mix_bias
        a = a / (1 + np.exp(-a))
        told: NDArray[np.float64] = self.keep * z + a @ self.out.weights + self.out_bias
        return told

    def core(self) -> _core.BaseHead:
        def pair(matrix: Bytes) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
            return matrix.numbers, matrix.scale

        return _core.BaseHead(
            self.vocab,
            self.tokens,
            output=pair(self.output),
            input_scale=self.input_scale,
            mix=pair(self.mix),
            mix_bias=self.mix_bias,
            out=pair(self.out),
            out_bias=self.out_bias,
            keep=self.keep,
        )

    def write(self, path: Path, *, kind: str = "base", **changed: object) -> Path:
        """As a file; what is changed replaces a key, or a tensor."""
        width, hidden = self.out.numbers.shape[::-1]
        sizes = {"feature_length": width, "hidden_length": hidden, "vocab_size": self.vocab}
        tensors: dict[str, NDArray[np.generic]] = {
            "tokens": self.tokens,
            "input.scale": self.input_scale,
            "mix.bias": self.mix_bias,
            "out.bias": self.out_bias,
            "keep": self.keep,
        }
        for name, matrix in (("output", self.output), ("mix", self.mix), ("out", self.out)):
            tensors |= {f"{name}.weight": matrix.numbers, f"{name}.scale": matrix.scale}
        return _write(path, kind, sizes, tensors, changed)


def _write(
    path: Path,
    kind: str,
    sizes: Mapping[str, int],
    tensors: Mapping[str, NDArray[np.generic]],
    changed: Mapping[str, object],
) -> Path:
    writer = GGUFWriter(path, "rewardshift-head")
    writer.add_string("rewardshift-head.kind", kind)
    writer.add_string("rewardshift-head.target", "a tiny model")
    if isinstance(strength := changed.get("strength"), float):
        writer.add_float32("rewardshift-head.strength", strength)
    for name, size in sizes.items():
        value = changed.get(name, size)
        if isinstance(value, int):
            writer.add_uint32(f"rewardshift-head.{name}", value)
    for name, tensor in tensors.items():
        value = changed.get(name, tensor)
        if isinstance(value, np.ndarray):
            is_bytes = value.dtype == np.int8
            writer.add_tensor(name, value, raw_dtype=GGMLQuantizationType.I8 if is_bytes else None)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
