"""Muon, an optimiser for matrices.

PyTorch's own always computes in bfloat16, which many processors only emulate.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from .precision import fast_dtype

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torch import Tensor

_COEFFICIENTS = (3.4445, -4.7750, 2.0315)
_STEPS = 5


class Muon(torch.optim.Optimizer):  # type: ignore[misc]
    """Momentum whose singular values are all made alike (Jordan et al., 2024).

    Args:
        matrices: The parameters.
        lr: Length of a step, about the spectral norm of what changes.
        momentum: Share of the old in the average of gradients.
        precision: The type in which matrices are multiplied; None for the fastest here.
    """

    def __init__(
        self,
        matrices: Iterable[Tensor],
        lr: float,
        momentum: float = 0.95,
        precision: torch.dtype | None = None,
    ) -> None:
        """Begins without momentum."""
        super().__init__(matrices, {"lr": lr, "momentum": momentum, "precision": precision})

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def step(self, closure: None = None) -> None:  # noqa: ARG002 - torch's signature
        """Steps along all gradients."""
        for group in self.param_groups:
            momentum = group["momentum"]
            for matrix in group["params"]:
                state = self.state[matrix]
                if not state:
                    state["average"] = torch.zeros_like(matrix)
                average = state["average"].lerp_(matrix.grad, 1 - momentum)
                precision = group["precision"] or fast_dtype(matrix.device)
                update = orthogonalised(matrix.grad.lerp(average, momentum), precision)
                rows, columns = matrix.shape
                matrix.add_(update, alpha=-group["lr"] * max(1, rows / columns) ** 0.5)


def orthogonalised(matrix: Tensor, precision: torch.dtype) -> Tensor:
    """U S V^T with S near 1 where the matrix is U D V^T: five steps of Newton and Schulz."""
    wide = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
    x = (wide / wide.norm().clamp(min=1e-7)).to(precision)
    a, b, c = _COEFFICIENTS
    for _ in range(_STEPS):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return (x if wide is matrix else x.T).to(matrix.dtype)
