"""What a head is to learn from cached states: a pair's shift, or what is preferred.

Both are about the law that the head makes of the target, pi = softmax(z_p + s · lambda), and
neither runs the target. What is added to all tokens of a position alike changes nothing of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeVar

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - everyone's name for it
from torch import Tensor, nn

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from .shift_head import ShiftHead
    from .target_states import States

_AT_ONCE = 1024  # positions that are measured together


@dataclass(frozen=True, slots=True)
class LessonOptions:
    """How a head learns from what was cached.

    Attributes:
        positions: Of one step, where a pair's shift is learned.
        pairs: Of one step, where preferences are.
        beta: DPO's: how much a difference of implicit rewards counts; smaller shifts further.
        held_out: Share of the prompts whose texts only measure.
        seed: Of which those are, and of the order of the others.
    """

    positions: int = 64
    pairs: int = 1
    beta: float = 0.1
    held_out: float = 0.1
    seed: int = 1


H_contra = TypeVar("H_contra", bound=nn.Module, contravariant=True)


class Lesson(Protocol[H_contra]):
    """What the training asks of it."""

    def batches(self, epoch: int) -> Iterator[NDArray[np.intp]]:
        """What is learned from, once each, in an order of chance."""

    def loss(self, head: H_contra, batch: NDArray[np.intp], *, done: float) -> Tensor:
        """What a step makes smaller, before which the share ``done`` of the training came."""

    def measure(self, head: H_contra) -> dict[str, float]:
        """On what is held out; "loss" is the smaller the better."""


def held_out(prompts: NDArray[np.integer], *, share: float, seed: int) -> NDArray[np.bool_]:
    """Whether each of these only measures: all of a prompt do, or none.

    Args:
        prompts: The number of each one's prompt.
        share: Of the prompts that only measure; at least one does.
        seed: Of which those are.

    Raises:
        ValueError: If there is none to learn from.
    """
    count = int(prompts.max()) + 1
    if count < 2:
        raise ValueError("there is one prompt: too few to learn from and to measure with")
    held = max(1, round(share * count))
    chosen = np.zeros(count, bool)
    chosen[np.random.default_rng(seed).permutation(count)[:held]] = True
    held_prompts: NDArray[np.bool_] = chosen[prompts]
    return held_prompts


class _Positions:
    """States as the losses read them."""

    def __init__(self, states: States, head: ShiftHead) -> None:
        self._states = states
        self._head_places = head.places(states.ids)
        self._following = head.places(states.following)

    def state(self, rows: NDArray[np.intp]) -> Tensor:
        return _float(self._states.states[rows])

    def places(self, rows: NDArray[np.intp]) -> Tensor:
        return torch.from_numpy(self._head_places[rows].astype(np.int64))

    def following(self, rows: NDArray[np.intp]) -> Tensor:
        return torch.from_numpy(self._following[rows].astype(np.int64))[:, None]

    def log_p(self, rows: NDArray[np.intp]) -> Tensor:
        return _float(self._states.log_p[rows]).log_softmax(1)  # 16 bits add up to nearly 1

    def log_ratio(self, rows: NDArray[np.intp]) -> Tensor:
        return _float(self._states.log_ratio[rows])


def _float(values: NDArray[np.float16]) -> Tensor:
    return torch.from_numpy(values.astype(np.float32))


class PairLesson:
    """Regression on a pair: KL(pi*_s || pi), mean over positions."""

    def __init__(
        self,
        states: States,
        prompts: NDArray[np.integer],
        strength: float,
        head: ShiftHead,
        options: LessonOptions,
    ) -> None:
        """Of cached states.

        Args:
            states: With the pair's log-ratios.
            prompts: The number of each text's prompt.
            strength: s, at which the two laws are compared.
            head: That is to learn.
            options: How.
        """
        held = held_out(prompts, share=options.held_out, seed=options.seed)[states.texts]
        self._learned, self._held = np.flatnonzero(~held), np.flatnonzero(held)
        self._at = _Positions(states, head)
        self._strength = strength
        self._options = options

    def batches(self, epoch: int) -> Iterator[NDArray[np.intp]]:
        """Positions."""
        order = np.random.default_rng([self._options.seed, epoch]).permutation(self._learned)
        for start in range(0, len(order), self._options.positions):
            yield order[start : start + self._options.positions]

    def loss(self, head: ShiftHead, batch: NDArray[np.intp], *, done: float) -> Tensor:  # noqa: ARG002
        """KL."""
        return self._divergence(head, batch)[1].mean()

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def measure(self, head: ShiftHead) -> dict[str, float]:
        """KL without the head and with it, nats a position, and the share that it explains."""
        sums = np.zeros(2)
        for start in range(0, len(self._held), _AT_ONCE):
            found = self._divergence(head, self._held[start : start + _AT_ONCE])
            sums += [float(values.double().sum()) for values in found]
        without, left = (sums / len(self._held)).tolist()
        return {
            "loss": left,
            "kl_without": without,
            "kl": left,
            "explained": 1 - left / without if without > 0 else 0.0,
        }

    def _divergence(self, head: ShiftHead, rows: NDArray[np.intp]) -> tuple[Tensor, Tensor]:
        """KL from pi*_s to p and to pi, [n] each."""
        log_p = self._at.log_p(rows)
        wanted = log_p + self._strength * self._at.log_ratio(rows)
        found = log_p + self._strength * head(self._at.state(rows), self._at.places(rows))
        goal = wanted.log_softmax(1)
        return _kl(goal, log_p), _kl(goal, found.log_softmax(1))


def _kl(goal: Tensor, law: Tensor) -> Tensor:
    return (goal.exp() * (goal - law)).sum(1)


class PreferenceLesson:
    """DPO (Rafailov et al., 2023): pi is to raise the better response more than the worse one."""

    def __init__(
        self,
        states: States,
        prompts: NDArray[np.integer],
        head: ShiftHead,
        options: LessonOptions,
    ) -> None:
        """Of cached states.

        Args:
            states: Of texts 2i, the better response of pair i, and 2i + 1, the worse one.
            prompts: The number of each pair's prompt.
            head: That is to learn.
            options: How.
        """
        held = held_out(prompts, share=options.held_out, seed=options.seed)
        self._learned, self._held = np.flatnonzero(~held), np.flatnonzero(held)
        self._begins = np.searchsorted(states.texts, np.arange(2 * len(prompts) + 1))
        self._at = _Positions(states, head)
        self._options = options

    def batches(self, epoch: int) -> Iterator[NDArray[np.intp]]:
        """Pairs."""
        order = np.random.default_rng([self._options.seed, epoch]).permutation(self._learned)
        for start in range(0, len(order), self._options.pairs):
            yield order[start : start + self._options.pairs]

    def loss(self, head: ShiftHead, batch: NDArray[np.intp], *, done: float) -> Tensor:  # noqa: ARG002
        """DPO's."""
        return -F.logsigmoid(self._options.beta * self._margins(head, batch)).mean()

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def measure(self, head: ShiftHead) -> dict[str, float]:
        """DPO's loss, and the share of pairs whose better response has more implicit reward."""
        pairs = self._held[:, None]
        margins = torch.cat([self._margins(head, pair) for pair in pairs]).double()
        return {
            "loss": float(-F.logsigmoid(self._options.beta * margins).mean()),
            "accuracy": float((0.5 + 0.5 * margins.round(decimals=4).sign()).mean()),
            "margin": float(margins.mean()),
        }

    def _margins(self, head: ShiftHead, pairs: NDArray[np.intp]) -> Tensor:
        """Log pi/p of the better response less that of the worse one, [n]."""
        texts = np.stack([2 * pairs, 2 * pairs + 1], 1).reshape(-1)
        lengths = self._begins[texts + 1] - self._begins[texts]
        rows = np.concatenate([np.arange(self._begins[t], self._begins[t + 1]) for t in texts])
        places = torch.cat([self._at.places(rows), self._at.following(rows)], 1)
        found = head(self._at.state(rows), places)
        log_z = (self._at.log_p(rows) + found[:, :-1]).logsumexp(1)
        whose = torch.from_numpy(np.repeat(np.arange(len(texts)), lengths))
        rewards = torch.zeros(len(texts)).index_add(0, whose, found[:, -1] - log_z)
        return rewards[::2] - rewards[1::2]
