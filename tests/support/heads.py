"""Random heads on a target's features, their files, and what they say, in numpy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from gguf import GGMLQuantizationType, GGUFWriter

from rewardshift import _core

if TYPE_CHECKING:
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

    def core(self) -> _core.Head:
        return _core.Head(self.down, self.bias, self.up, self.scale)

    def write(self, path: Path, *, kind: str = "shift", **changed: object) -> Path:
        """As a file; what is changed replaces a key, or a tensor."""
        writer = GGUFWriter(path, "rewardshift-head")
        writer.add_string("rewardshift-head.kind", kind)
        writer.add_string("rewardshift-head.target", "a tiny model")
        if isinstance(strength := changed.get("strength"), float):
            writer.add_float32("rewardshift-head.strength", strength)
        sizes = {
            "rank": self.down.shape[0],
            "feature_length": self.down.shape[1],
            "vocab_size": self.up.shape[1],
        }
        for name, size in sizes.items():
            value = changed.get(name, size)
            if isinstance(value, int):
                writer.add_uint32(f"rewardshift-head.{name}", value)
        tensors = {
            "down.weight": self.down,
            "down.bias": self.bias,
            "up.weight": self.up,
            "up.scale": self.scale,
        }
        for name, tensor in tensors.items():
            value = changed.get(name, tensor)
            if isinstance(value, np.ndarray):
                is_bytes = value.dtype == np.int8
                writer.add_tensor(
                    name, value, raw_dtype=GGMLQuantizationType.I8 if is_bytes else None
                )
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        return path
