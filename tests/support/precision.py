"""How far two right computations of the same number may lie apart; tolerances come from here.

A type rounds a number by at most its unit roundoff, relatively: FLOAT32, FLOAT16 and so on. Each
operation does so again. Which operations there are is the library's choice, the processor's and
the number of rows': sums are added in any order, by 4, 8 or 16 lanes, with or without fused
multiplications. So a tolerance counts operations, and holds for all of these:

- The partial sums of n terms of both signs grow like a random walk to the size of their result.
  Their n roundings together have a standard deviation of at most sqrt(n / 2) unit roundoffs of the
  result's size (the worst is to add one by one; lanes make it less).
- Roundings are independent: those of one sum after another add up by their squares.
- Of all that a test compares, nothing is SIGMAS standard deviations off by chance.

Where a library may choose among types, as PyTorch and oneDNN do by the processor, tests name the
type, or compute with each. Where both sides are computed in Python's or numpy's floats, tests keep
the defaults of pytest.approx (1e-6) and numpy (1e-7), which are far from 2^-53 on the one side and
from any mistake on the other; torch.testing has its own, by type.
"""

from __future__ import annotations

from functools import cache
from math import hypot, log, sqrt
from typing import TYPE_CHECKING

import numpy as np

from rewardshift import _core

if TYPE_CHECKING:
    from .enumerate_law import Probs
    from .tiny_encoder import EncoderSpec
    from .tiny_gguf import TinySpec

FLOAT64 = 2.0**-53
FLOAT32 = 2.0**-24
FLOAT16 = 2.0**-11
TF32 = 2.0**-11
BFLOAT16 = 2.0**-8

SIGMAS = 8

DOUBLE = 1e-12
"""Of what the core computes in double from the same logits or weights: laws, and decisions.

Exponents (z* / temperature, without those that vanish) are below 1000, and below 10 operations are
done with each: 10 * 1000 * 2^-53.
"""


def of_sums(count: int, terms: int, unit: float = FLOAT32) -> float:
    """Of what comes out of `count` sums in a row, of `terms` each, relative to its usual size."""
    return SIGMAS * unit * sqrt(count * terms / 2)


def of_logits(spec: TinySpec) -> float:
    """Of a tiny model's logits in float32.

    A layer has eight sums in a row: a norm, keys, scores, the softmax, values, their projection,
    another norm, and two of the feed-forward network, of which the residual stream takes both on.
    """
    sums = 8 * spec.n_layer + 2
    of_adding = of_sums(sums, max(spec.n_embd, spec.n_ff)) * spec.scale
    if not _multiplies_on_gpu():
        return of_adding
    return of_adding + of_sums(sums, 2, TF32) * spec.scale


def of_recurrent_logits(scale: float, length: int) -> float:
    """Of a tiny recurrent or hybrid model's logits in float32, after so many tokens at most.

    Its layers (there are three at most, of 64 values) have twelve sums in a row at most: those of
    `of_logits`, and a convolution, a state, what it says, and a gate. A state adds up the tokens.
    """
    sums = 12 * 3 + 2
    of_adding = of_sums(sums, max(2 * 64, length)) * scale
    if not _multiplies_on_gpu():
        return of_adding
    return of_adding + of_sums(sums, 2, TF32) * scale


def of_encoder_scores(spec: EncoderSpec) -> float:
    """Of what the head of a tiny encoder says.

    Its layers have the sums of `of_logits`, of at most 64 terms, and their scores are of the size
    of 1.5. ggml looks GELU up in a table of float16: it rounds what goes in and what comes out, in
    each layer and in the head.
    """
    sums = 8 * spec.n_layer + 3
    of_adding = of_sums(sums, 64) * 1.5
    if spec.arch != "neo-bert":  # it has another activation
        of_adding += SIGMAS * FLOAT16 * sqrt(2 * spec.n_layer + 2) * 1.5
    if not _multiplies_on_gpu():
        return of_adding
    return of_adding + of_sums(sums, 2, TF32) * 1.5


@cache
def _multiplies_on_gpu() -> bool:
    """Whether matrices may be multiplied by tensor cores.

    These round both factors of a product to TF32, and add in float32: each sum is off by as much as
    its terms, whose errors are independent, in all.
    """
    return any(device.kind == "gpu" for device in _core.devices())


def of_normaliser(n: int) -> float:
    """Of the logarithm of a sum of n exponentials, which the core computes in float32.

    Exponentials are right to 2 ulp, which is 4 unit roundoffs. Exponents are rounded thrice (less
    the largest, times a rounded 1 / temperature), and weighed by what they contribute their mean is
    below log(n).
    """
    return FLOAT32 * (4 + 3 * log(n))


def of_float_weights(probs: Probs, reach: float = 0.0) -> Probs:
    """Of each probability that the core keeps as a weight in float32, from logits that are exact.

    The exponent is rounded once, and the exponential right to 2 ulp, as are those of the weights
    whose sum it is divided by, weighed by what they contribute. Weights are relative to a token
    that is at most e^16 from the most probable one.

    Args:
        probs: What is right.
        reach: How far apart a row's logits lie, times its weight over the temperature, summed over
            rows: terms are added in float, each rounded with every partial sum that it is part of.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        exponent = np.where(probs > 0, np.log(probs.max() / probs), 0)
    return FLOAT32 * (8 + exponent + log(len(probs)) + 4 * reach) * probs


def of_goal_logprobs(probs: Probs) -> Probs:
    """Of the logarithm of each probability of a goal, from logits that are exact."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(probs > 0, of_float_weights(probs) / probs, 0)


def of_logprobs(spec: TinySpec) -> float:
    """Of a tiny model's log-probabilities: a logit less the normaliser of all."""
    return 2 * of_logits(spec) + of_normaliser(spec.n_vocab)


def of_reward(spec: TinySpec, tokens: int) -> float:
    """Of an implicit reward: a difference of two roles' log-probabilities for each token."""
    return 2 * tokens * of_logprobs(spec)


def of_goal(spec: TinySpec, strength: float = 1.0, temperature: float = 1.0) -> float:
    """Of log-probabilities under pi*, and of log Z, from three tiny models."""
    return (1 + 2 * abs(strength)) * of_logprobs(spec) / min(temperature, 1)


def of_log_z(n: int, strength: float = 1.0) -> float:
    """Of log Z and Z, relatively, from logits that are exact: normalisers of each role."""
    return (1 + 2 * abs(strength)) * of_normaliser(n)


def of_paper_law(error: float, weight: Probs, proposal: Probs) -> Probs:
    """Of each probability under the paper's law if its scale, Z pi*'s mass, is off by `error`.

    What is accepted is off by `error * weight`, and so are the residual and both masses whose
    ratio scales it: a thin residual makes much of little.
    """
    residual = np.maximum(weight - proposal, 0)
    rejected = 1 - np.minimum(weight, proposal).sum()
    if residual.sum() <= 1e-6 * rejected:  # then the core corrects from the goal
        return 2 * error * weight
    share = residual / residual.sum() * weight.sum()
    return error * (1 + rejected / residual.sum()) * (weight + share)


def of_half_caches(spec: TinySpec) -> float:
    """Of a tiny model's logits where keys and values are in float16, as they are by default.

    A layer rounds queries, keys and values once. Flash attention also adds up values in float16,
    where there is a single row; a mean of n is sqrt(n) times smaller than what it is the mean of,
    and so are its n roundings, which count as one.
    """
    return SIGMAS * FLOAT16 * sqrt(4 * spec.n_layer) * spec.scale


def of_weights(spec: TinySpec, kind: str) -> float:
    """What weights of a type cost a tiny model's logits at most: the root of the mean square.

    Kernels round activations as well: to the same type of 16 bits, or to 8 bits.
    """
    if kind in ("F32", "F16", "BF16"):
        unit = {"F32": FLOAT32, "F16": FLOAT16, "BF16": BFLOAT16}[kind]
        rounding = unit * sqrt(2 / 3)
    else:
        rounding = hypot(of_block(int(kind[1])), of_block(8))
    return rounding * sqrt(4 * spec.n_layer + 1) * spec.scale


def of_activations(layers: int, spread: float) -> float:
    """What activations of 8 bits alone cost logits of this standard deviation, likewise."""
    return of_block(8) * sqrt(4 * layers + 1) * spread


def of_block(bits: int) -> float:
    """What rounding a block of 32 normal numbers costs each, relative to their deviation.

    They span five standard deviations, in 2^bits steps, and errors are even within a step. As each
    number of a product is off by as much, independently, so is the product; and of products one
    after another, four in a layer and the output's, errors add up by their squares.
    """
    return 5 / 2**bits / sqrt(12)
