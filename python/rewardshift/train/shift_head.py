"""A head on the target's last hidden state that shifts it: no second model (PALC, ICLR 2026).

lambda_x = scale_x · sum_k up[k, x] · tanh(down[k] · h + bias[k]), a bottleneck of a few dozen
numbers between the state h and the vocabulary. ``up`` counts as it will be written, in whole
numbers with a scale for each token, from the first step on: what rounding loses is learned around.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from .head_file import rounded, whole_numbers, write_head_file

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray


class ShiftHead(nn.Module):  # type: ignore[misc]
    """What a state says of tokens; of those that no position knows, nothing: 0."""

    def __init__(
        self, states: NDArray[np.floating], tokens: NDArray[np.int32], *, rank: int, seed: int
    ) -> None:
        """Begins with a head that shifts nothing.

        Args:
            states: Of positions, [n, width]: their mean and spread are what is taken for usual.
            tokens: The ids that it says something of, ascending.
            rank: Numbers between state and tokens.
            seed: Of the matrix in front of them.
        """
        super().__init__()
        wide = states.astype(np.float32)
        torch.manual_seed(seed)
        self.down = nn.Linear(wide.shape[1], rank)
        self.up = nn.Parameter(torch.zeros(len(tokens), rank))
        self.register_buffer("tokens", torch.from_numpy(tokens.astype(np.int64)))
        self.register_buffer("mean", torch.from_numpy(wide.mean(0)))
        self.register_buffer("spread", torch.from_numpy(wide.std(0) + 1e-6))

    def forward(self, states: Tensor, places: Tensor) -> Tensor:
        """Lambda of some tokens of each position, [n, k].

        Args:
            states: [n, width].
            places: Of the tokens, as ``places`` says, [n, k].
        """
        codes = torch.tanh(self.down((states - self.mean) / self.spread))
        up = self.up + (rounded(self.up) - self.up).detach()  # straight through
        return torch.einsum("nkr,nr->nk", up[places], codes)

    def places(self, ids: NDArray[np.int32]) -> NDArray[np.int32]:
        """Where tokens that it says something of are among these."""
        return np.searchsorted(self.tokens.numpy(), ids).astype(np.int32)


@torch.no_grad()  # type: ignore[untyped-decorator]
def write_head(
    head: ShiftHead, path: Path, *, name: str, target: Path, vocab_size: int, strength: float
) -> None:
    """Writes a head as GGUF.

    Args:
        head: The usual mean and spread of states become part of its first matrix.
        path: The file; it appears when it is whole.
        name: For people.
        target: GGUF whose states it reads.
        vocab_size: The target's.
        strength: The usual one.
    """
    weight = (head.down.weight.double() / head.spread.double()).numpy()
    bias = head.down.bias.double().numpy() - weight @ head.mean.double().numpy()
    rank, width = weight.shape
    known = head.tokens.numpy()
    whole, scale = whole_numbers(head.up)
    up = np.zeros((rank, vocab_size), np.int8)
    up[:, known] = whole.numpy().T.astype(np.int8)
    scales = np.zeros(vocab_size, np.float32)
    scales[known] = scale.numpy()
    tensors = {
        "down.weight": weight.astype(np.float32),
        "down.bias": bias.astype(np.float32),
        "up.weight": up,
        "up.scale": scales,
    }
    numbers = {
        "rank": rank,
        "feature_length": width,
        "vocab_size": vocab_size,
        "strength": float(strength),
    }
    write_head_file(path, kind="shift", name=name, target=target, numbers=numbers, tensors=tensors)
