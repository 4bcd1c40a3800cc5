"""What a head that drafts is to learn from cached states: the target's laws, some tokens ahead.

From a position on, the head makes one state after another and says what follows each. The tokens
it reads are those of the text, which the target drew; the states, from the second step on, its own:
that is what it meets when it drafts ("harmonised context": HASS, Zhang et al., ICLR 2025). A step
counts as much as the drafts before it would have been accepted, min(1, b/p) each, because so often
does a round come that far: summed over the steps, that is what a round brings.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - everyone's name for it
from torch import Tensor

from .head_lessons import held_out
from .loss import acceptance, at_temperature
from .precision import fast_dtype

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from .base_head import BaseHead
    from .base_training import BaseHeadOptions
    from .target_states import States

ROUND = 3
"""Drafts of the rounds that are measured."""

TEMPERATURE = 0.8
"""At which that is done."""

_MEASURED = 4096  # positions at most
_AT_ONCE = 256  # positions that are measured together
_LEAST = 1e-4  # acceptance whose logarithm is taken
_OF_STATES = 0.1  # how much the distance of states counts
_OF_ENTROPY = 0.1  # how much cross-entropy counts beside acceptance


@dataclass(frozen=True, slots=True)
class Laws:
    """What target and head say at n positions, of the k tokens that were kept there.

    Attributes:
        log_p: The target's, [n, k].
        log_b: The head's, −∞ of tokens that it does not know, [n, k].
        likely: The first so many are themselves, the others stand for the rest.
    """

    log_p: Tensor
    log_b: Tensor
    likely: int

    @property
    def known(self) -> Tensor:
        """Which tokens the head knows, [n, k]."""
        return self.log_b.isfinite()

    def cross_entropy(self, top_k: int) -> Tensor:
        """Of the head to the target's law among the tokens that the head knows, [n].

        Args:
            top_k: So many of its most probable tokens count once more (top-K distillation).
        """
        weights = self.log_p.exp() * self.known
        weights = weights / weights.sum(1, keepdim=True).clamp(min=_LEAST)
        terms = -weights * self.log_b.masked_fill(~self.known, 0.0)
        likely = weights[:, : self.likely]
        top = likely.topk(min(top_k, likely.shape[1]), dim=1).indices
        return terms.sum(1) + terms.gather(1, top).sum(1)

    def acceptance(self) -> Tensor:
        """sum_x min(p(x), b(x)) over the likely tokens: a lower bound of what is accepted, [n]."""
        return acceptance(self.log_b[:, : self.likely], self.log_p[:, : self.likely])

    def accepts(self, is_next: Tensor) -> Tensor:
        """min(1, b/p) of the tokens that follow; 0 of those that are not among the likely, [n].

        Args:
            is_next: Where they are, [n, k].
        """
        ratio = (self.log_b - self.log_p).clamp(max=0).exp() * is_next
        return ratio[:, : self.likely].sum(1)


class BaseLesson:
    """The target's laws behind 1 to n tokens."""

    def __init__(
        self,
        states: States,
        prompts: NDArray[np.integer],
        options: BaseHeadOptions,
        *,
        likely: int,
    ) -> None:
        """Of cached states.

        Args:
            states: Of texts of the target's own.
            prompts: The number of each text's prompt.
            options: How.
            likely: So many of the tokens kept at a position are the most probable, and come first.

        Raises:
            ValueError: If there are too few to learn from and to measure with.
        """
        held = held_out(prompts, share=options.held_out, seed=options.seed)[states.texts]
        goes_on = np.append(states.texts[:-1] == states.texts[1:], [False])
        self._learned = np.flatnonzero(goes_on & ~held)
        self._held = _some(np.flatnonzero(goes_on & held), _MEASURED)
        if min(len(self._learned), len(self._held)) == 0:
            raise ValueError("no response goes on for two tokens: there is nothing to draft")
        self._states = states
        self._options = options
        self._likely = likely

    def batches(self, epoch: int) -> Iterator[NDArray[np.intp]]:
        """Positions to start from: as many as let each be met once an epoch, on average."""
        order = np.random.default_rng([self._options.seed, epoch]).permutation(self._learned)
        order = order[: -(-len(order) // self._options.self_fed_steps)]
        for start in range(0, len(order), self._options.positions):
            yield order[start : start + self._options.positions]

    def loss(self, head: BaseHead, batch: NDArray[np.intp], *, done: float) -> Tensor:
        """Cross-entropy, and after the warm start acceptance; mean over what rounds come to.

        The acceptance itself is the loss −log sum_x min(p(x), b(x)), at temperature 1 (LK).
        """
        device = head.keep.device
        total = weights = torch.zeros((), device=device)
        precision = fast_dtype(device)
        with torch.autocast(device.type, precision, enabled=precision != torch.float32):
            for step in self._steps(head, batch, self._options.self_fed_steps):
                value = step.laws.cross_entropy(self._options.top_k)
                if done >= self._options.warm:
                    accepted = step.laws.acceptance().clamp(min=_LEAST)
                    value = _OF_ENTROPY * value - accepted.log()
                value = value + _OF_STATES * step.distance
                total = total + (step.reached * value).sum()
                weights = weights + step.reached.sum()
        return total / weights

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def measure(self, head: BaseHead) -> dict[str, float]:
        """Acceptance by position, where the drafts before were accepted, and tokens a round.

        Both laws are at temperature 0.8. The target's is known of what was kept: what stands for
        the rest counts as it is, and nothing of that as accepted, so this is a lower bound.
        "loss" is the share of three drafts that is not accepted.
        """
        reached, accepted = self.outcomes(head)
        accepted = (reached * accepted).sum(1)
        reached = reached.sum(1)
        shares = accepted / reached.clip(min=_LEAST)
        brought = float(shares[:ROUND].cumprod().sum())
        by_position = {f"acceptance_{j + 1}": float(share) for j, share in enumerate(shares)}
        return {"loss": 1 - brought / ROUND, "tokens_a_round": 1 + brought, **by_position}

    @property
    def measured_texts(self) -> NDArray[np.int32]:
        """The number of the text of each position that is measured, [n]."""
        texts: NDArray[np.int32] = self._states.texts[self._held]
        return texts

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def outcomes(self, head: BaseHead) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """How often rounds from each measured position come to their drafts, and accept them.

        See ``measure``; [steps, n] each.
        """
        steps = max(ROUND, self._options.self_fed_steps)
        reached, accepted = (np.zeros((steps, len(self._held))) for _ in range(2))
        for start in range(0, len(self._held), _AT_ONCE):
            here = slice(start, start + _AT_ONCE)
            for j, step in enumerate(self._steps(head, self._held[here], steps, TEMPERATURE)):
                reached[j, here] = step.reached.cpu().numpy()
                accepted[j, here] = step.laws.acceptance().cpu().numpy()
        return reached, accepted

    def _steps(
        self, head: BaseHead, batch: NDArray[np.intp], count: int, temperature: float = 1.0
    ) -> Iterator[_Step]:
        """What the head says behind the next tokens, one after another."""
        device = head.keep.device
        cached = self._states
        state = _float(cached.states[batch]).to(device)
        reached = torch.ones(len(batch), device=device)
        for j in range(1, count + 1):
            rows = (batch + j).clip(max=len(cached.texts) - 1)
            is_there = cached.texts[rows] == cached.texts[batch]
            is_there &= rows == batch + j
            read = torch.from_numpy(cached.following[rows - 1].astype(np.int64)).to(device)
            state, logits = head(state, read)
            ids = torch.from_numpy(cached.ids[rows].astype(np.int64)).to(device)
            log_p = at_temperature(_float(cached.log_p[rows]).to(device), temperature)
            laws = Laws(log_p, _log_b(logits / temperature, head.places[ids]), self._likely)
            reached = reached * torch.from_numpy(is_there).to(device)
            away = (state - _float(cached.states[rows]).to(device)) / head.spread
            distance = F.smooth_l1_loss(away, torch.zeros_like(away), reduction="none").mean(1)
            yield _Step(laws, reached, distance)
            following = torch.from_numpy(cached.following[rows].astype(np.int64)).to(device)
            reached = reached * laws.accepts(ids == following[:, None]).detach()


@dataclass(frozen=True, slots=True)
class _Step:
    """Laws, how often a round comes to them, and how far the state is from the target's, [n]."""

    laws: Laws
    reached: Tensor
    distance: Tensor


def _log_b(logits: Tensor, places: Tensor) -> Tensor:
    """Of tokens at these places, [n, k]; −∞ where that is below 0."""
    logits = logits.float()
    found = logits.gather(1, places.clamp(min=0)) - logits.logsumexp(1, keepdim=True)
    return found.masked_fill(places < 0, -torch.inf)


def _float(values: NDArray[np.float16]) -> Tensor:
    return torch.from_numpy(values.astype(np.float32))


def _some(rows: NDArray[np.intp], most: int) -> NDArray[np.intp]:
    """At most so many of these, evenly."""
    return rows if len(rows) <= most else rows[np.linspace(0, len(rows) - 1, most).astype(int)]
