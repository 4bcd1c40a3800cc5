"""What a student is trained on: the target's most probable tokens, and what is accepted of them.

Draft tokens are accepted with probability sum_x min(p(x), q(x)) = 1 − TV(p, q) (Leviathan et al.,
2023). Cross-entropy with p teaches most at first; minus that sum itself is what counts at the end.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812 - everyone's name for it
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Candidates:
    """Part of the vocabulary that stands for all of it.

    A softmax over 49,000 tokens is most of a small student's work. All tokens that any position of
    a batch has to learn are candidates, and of the others a random few that count for the rest:
    the sum over them is unbiased (sampled softmax; Bengio and Senécal, 2008).

    Attributes:
        ids: The candidates' ids, ascending, [c].
        log_weights: Logarithm of how many tokens each one counts for, [c].
    """

    ids: Tensor
    log_weights: Tensor

    @classmethod
    def choose(
        cls, wanted: Tensor, vocab_size: int, others: int, generator: torch.Generator
    ) -> Candidates:
        """The tokens in ``wanted`` (any shape), and ``others`` of the rest by chance."""
        is_wanted = torch.zeros(vocab_size, dtype=torch.bool, device=wanted.device)
        is_wanted[wanted.reshape(-1)] = True
        rest = (~is_wanted).nonzero().squeeze(1)
        drawn = rest[torch.randperm(len(rest), generator=generator)[:others].to(rest.device)]
        is_candidate = is_wanted.clone()
        is_candidate[drawn] = True
        ids = is_candidate.nonzero().squeeze(1)
        weight = math.log(max(len(rest), 1) / max(len(drawn), 1))
        return cls(ids, torch.where(is_wanted[ids], 0.0, weight))

    def places(self, ids: Tensor) -> Tensor:
        """Where wanted ids are among the candidates."""
        return torch.searchsorted(self.ids, ids)


def log_softmax_at(
    logits: Tensor, places: Tensor, log_weights: Tensor, temperature: float = 1.0
) -> Tensor:
    """Log q of some tokens of each row, [n, k].

    Args:
        logits: Of the candidates, [n, c].
        places: Which of them, [n, k].
        log_weights: Of the candidates, [c].
        temperature: Divides the logits.
    """
    scaled = logits / temperature
    return scaled.gather(1, places) - torch.logsumexp(scaled + log_weights, 1, keepdim=True)


def cross_entropy(log_q: Tensor, log_p: Tensor) -> Tensor:
    """−sum_x p(x) log q(x) over the tokens given and one that stands for all others, [n].

    Args:
        log_q: The student's, of the target's most probable tokens, [n, k].
        log_p: The target's, [n, k].
    """
    p = log_p.exp()
    tail_p = (1 - p.sum(1)).clamp(min=0)
    tail_q = (1 - log_q.exp().sum(1)).clamp(min=1e-4)
    return -(p * log_q).sum(1) - tail_p * tail_q.log()


def acceptance(log_q: Tensor, log_p: Tensor) -> Tensor:
    """sum_x min(p(x), q(x)) over the tokens given: a lower bound of what is accepted, [n]."""
    return torch.minimum(log_q.exp(), log_p.exp()).sum(1)


def at_temperature(log_p: Tensor, temperature: float) -> Tensor:
    """The target's most probable tokens at another temperature, without those not given, [n, k].

    What is missing weighs little at temperatures below 1.
    """
    if temperature == 1.0:
        return log_p
    return F.log_softmax(log_p / temperature, dim=1)


def self_fed_weights(accepted: Tensor, starts: Tensor, steps: int) -> Tensor:
    """How often a draft of ``steps`` tokens that feeds on itself comes to each position, [n].

    A draft that begins at any position reaches the j-th one after it if its own tokens before were
    accepted: those are the contexts in which it is used, as in HASS (Zhang et al., ICLR 2025). The
    mean is 1.

    Args:
        accepted: min(1, q/p) of the token that follows each position, [n].
        starts: Whether a response begins at the position, [n].
        steps: Length of a draft; 1 weighs all alike.
    """
    weights = torch.ones_like(accepted)
    reached = torch.ones_like(accepted)
    for _ in range(steps - 1):
        # A draft comes here from the position before, unless a response begins here.
        reached = torch.cat([reached.new_zeros(1), (reached * accepted)[:-1]])
        reached = reached.masked_fill(starts, 0.0)
        weights = weights + reached
    return weights / weights.mean()
