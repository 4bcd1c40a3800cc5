"""Training a head that drafts, on cached states."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from .base_head import BaseHead, output_rows
from .base_lesson import BaseLesson
from .head_training import train
from .vocabulary import GgufVocabulary, counts_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from .corpus import Response
    from .target_states import Cache

MOST_STEPS = 4
"""Of a head that feeds on itself in training."""


@dataclass(frozen=True, slots=True)
class BaseHeadOptions:
    """How to train.

    Attributes:
        vocabulary: Tokens that it knows: the target's commonest; as many as that has, at most.
        width: Of its middle; None: twice the width of the target's states.
        self_fed_steps: Tokens ahead that are learned, 1 to 4, from the second on upon states that
            it made itself; 1 turns that off.
        top_k: The target's most probable tokens that count once more; 0 turns that off.
        warm: Share of the training after which acceptance is the loss; 1 turns that off.
        positions: From which one step of the training starts.
        learning_rate: Highest; it falls like a cosine.
        epochs: At most.
        patience: Epochs without more accepted drafts before the training ends.
        held_out: Share of the prompts whose responses only measure.
        seed: Of everything.
    """

    vocabulary: int = 8192
    width: int | None = None
    self_fed_steps: int = 3
    top_k: int = 10
    warm: float = 0.5
    positions: int = 256
    learning_rate: float = 2e-3
    epochs: int = 10
    patience: int = 3
    held_out: float = 0.1
    seed: int = 1

    def __post_init__(self) -> None:
        """Raises ValueError for what cannot be trained."""
        if not 1 <= self.self_fed_steps <= MOST_STEPS:
            raise ValueError(
                f"self_fed_steps must be between 1 and {MOST_STEPS} for a head, not "
                f"{self.self_fed_steps}"
            )
        for name in ("vocabulary", "width", "positions", "epochs"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} must be at least 1, not {value}")
        for name in ("warm", "held_out"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must be between 0 and 1, not {getattr(self, name)}")
        if self.top_k < 0:
            raise ValueError(f"top_k must be at least 0, not {self.top_k}")


def known_tokens(
    target: Path, responses: Sequence[Response], vocab_size: int, count: int
) -> NDArray[np.int32]:
    """The tokens that a head knows, as ascending ids.

    The commonest by what the target said and would have said, and those that the file names as
    ends of texts and turns, before all others.

    Args:
        target: GGUF.
        responses: Of the target's.
        vocab_size: The target's.
        count: How many; as many as there are, at most.
    """
    counts = counts_of(responses, vocab_size)
    special = [token for token in GgufVocabulary.of(target).special if token < vocab_size]
    counts[special] = np.inf
    return np.sort(np.argsort(-counts, kind="stable")[:count]).astype(np.int32)


def learn_base(
    target: Path,
    cache: Cache,
    prompts: NDArray[np.integer],
    tokens: NDArray[np.int32],
    run: Path,
    options: BaseHeadOptions,
    *,
    likely: int,
    progress: bool | None = None,
) -> tuple[BaseHead, dict[str, float]]:
    """A head that drafts for a target, with its weights as they will be written.

    Args:
        target: GGUF, of which only the output is read.
        cache: What it says at positions of its own responses.
        prompts: The number of each response's prompt.
        tokens: Ids that the head is to know, ascending.
        run: As in ``train``, which says the rest.
        options: How.
        likely: So many of the tokens kept at a position are the most probable, and come first.
        progress: Whether to show progress; None shows it on a terminal.

    Returns:
        The head, and what was measured of it, rounded as it is.
    """
    states = cache.states
    width = states.states.shape[1]
    head = BaseHead(
        output_rows(target, tokens),
        tokens,
        states,
        vocab_size=cache.vocab_size,
        hidden=options.width or 2 * width,
        seed=options.seed,
    ).to("cuda" if torch.cuda.is_available() else "cpu")
    lesson = BaseLesson(states, prompts, options, likely=likely)
    about = {"states": states.digest(), "likely": likely}
    best = train(head, lesson, run, options, about, progress=progress)
    head.round_weights()
    measured = lesson.measure(head)
    return head.cpu(), {**best, **measured}
