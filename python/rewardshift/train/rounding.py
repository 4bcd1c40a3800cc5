"""Training with weights as they will be written, so that what rounding loses is learned around."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from torch import Tensor

_BLOCK = 32
_LEVELS = {"Q4_0": 8, "Q5_0": 16}
"""Of the sign that a block's largest weight has; the other sign has one less."""


def rounded(weights: Tensor, kind: str) -> Tensor:
    """A matrix as a GGUF of that type gives it back: ``gguf.quants``, but without packing bits.

    Args:
        weights: In rows that are whole blocks of 32.
        kind: Of ``rewardshift.train.export.WEIGHT_TYPES``.
    """
    kind = kind.upper()
    if kind == "F32":
        return weights.clone()
    if kind == "F16":
        return weights.half().to(weights.dtype)
    blocks = weights.reshape(-1, _BLOCK)
    largest = blocks.gather(1, blocks.abs().argmax(1, keepdim=True))
    if kind == "Q8_0":
        scale = largest.abs() / 127
        codes = (blocks * _inverse(scale)).round()
    else:
        levels = _LEVELS[kind]
        scale = largest / -levels
        codes = (blocks * _inverse(scale) + (levels + 0.5)).trunc().clamp(
            0, 2 * levels - 1
        ) - levels
    return (codes * scale.half()).to(weights.dtype).reshape(weights.shape)


def _inverse(scale: Tensor) -> Tensor:
    return torch.where(scale == 0, 0.0, 1 / scale)


@contextmanager
def standing_in(values: Sequence[Tensor], parameters: Sequence[Tensor]) -> Iterator[None]:
    """Lets values stand in for parameters, which get the gradients: the straight-through estimator.

    See Bengio et al. (2013), "Estimating or Propagating Gradients Through Stochastic Neurons".
    """
    exact = [parameter.data for parameter in parameters]
    try:
        for parameter, value in zip(parameters, values, strict=True):
            parameter.data = value
        yield
    finally:
        for parameter, value in zip(parameters, exact, strict=True):
            parameter.data = value
