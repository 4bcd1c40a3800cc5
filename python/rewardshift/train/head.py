"""A head for a target, from beginning to end: texts, states, training, a file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from .head_texts import TextOptions, sample_texts, texts_of
from .head_training import HeadOptions, learn_pair, learn_preferences
from .shift_head import write_head
from .target_states import StateOptions, cache_states

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from rewardshift.shifts import Shift

    from .pairs import Pair
    from .target_states import Cache

LEAST_PAIRS = 10
"""Fewer are too few to learn from and to measure with."""


@dataclass(frozen=True, slots=True)
class HeadReport:
    """What came of it.

    Attributes:
        measured: On what was held out; of a pair the share of KL that is ``explained``, of
            preferences the ``accuracy``.
        positions: That it learned from, and measured with.
        bytes: Of the cached states on disk.
        seconds: That the target took to read them.
    """

    measured: dict[str, float]
    positions: int
    bytes: int
    seconds: float

    @classmethod
    def of(cls, cache: Cache, measured: dict[str, float]) -> HeadReport:
        """Of what was cached and measured."""
        return cls(measured, len(cache.states.texts), cache.bytes, cache.seconds)


def head_of_shift(
    target: Path,
    shift: Shift,
    prompts: Sequence[str],
    run: Path,
    path: Path,
    *,
    name: str,
    sampling: TextOptions | None = None,
    keeping: StateOptions | None = None,
    options: HeadOptions | None = None,
    progress: bool | None = None,
) -> HeadReport:
    """Makes a head that shifts a target as a pair does, of whatever vocabulary.

    Target and shifted target answer prompts; the target reads all answers, and the pair says what
    it would shift there. Goes on where it was stopped.

    Args:
        target: GGUF with a chat template.
        shift: The pair, at its usual strength.
        prompts: What is asked.
        run: Folder for texts, states and training.
        path: GGUF to write.
        name: That is written into it.
        sampling: How texts are sampled.
        keeping: What is kept of each position.
        options: How the head is trained.
        progress: Whether to show progress; None shows it on a terminal.

    Raises:
        ModelLoadError: If a file cannot be loaded.
        ChatTemplateError: If a model has no chat template.
        ValueError: If the shift is a head, or the run was begun with other options.
    """
    if shift.head is not None:
        raise ValueError(f"a head is learned from a pair, and {shift.head} is a head already")
    texts = sample_texts(
        target, shift, prompts, run / "texts.jsonl", sampling or TextOptions(), progress=progress
    )
    cache = cache_states(
        target, texts, run / "states", keeping or StateOptions(), shift=shift, progress=progress
    )
    asked = _numbers([prompts[i // 2 % len(prompts)] for i in range(len(texts))])
    head, measured = learn_pair(
        cache.states,
        asked,
        cache.strength,
        run,
        options or HeadOptions(),
        progress=progress,
    )
    write_head(
        head,
        path,
        name=name,
        target=target,
        vocab_size=cache.vocab_size,
        strength=cache.strength,
    )
    return HeadReport.of(cache, measured)


def head_of_preferences(
    target: Path,
    pairs: Sequence[Pair],
    run: Path,
    path: Path,
    *,
    name: str,
    keeping: StateOptions | None = None,
    options: HeadOptions | None = None,
    max_tokens: int = 512,
    progress: bool | None = None,
) -> HeadReport:
    """Makes a head with which a target prefers what is preferred.

    The target reads each response once. Goes on where it was stopped.

    Args:
        target: GGUF.
        pairs: What is preferred to what, in the target's tokens.
        run: Folder for states and training.
        path: GGUF to write.
        name: That is written into it.
        keeping: What is kept of each position.
        options: How the head is trained.
        max_tokens: Of prompt and response together; longer ones lose their end.
        progress: Whether to show progress; None shows it on a terminal.

    Raises:
        ModelLoadError: If the file cannot be loaded.
        ValueError: If there are fewer than ten pairs, or the run was begun with other options.
    """
    if len(pairs) < LEAST_PAIRS:
        raise ValueError(f"{len(pairs)} pairs are too few to train on and to measure with")
    texts = texts_of(pairs, max_tokens=max_tokens)
    cache = cache_states(
        target, texts, run / "states", keeping or StateOptions(), progress=progress
    )
    asked = _numbers([pair.prompt for pair in pairs])
    head, measured = learn_preferences(
        cache.states, asked, run, options or HeadOptions(), progress=progress
    )
    write_head(head, path, name=name, target=target, vocab_size=cache.vocab_size, strength=1.0)
    return HeadReport.of(cache, measured)


def _numbers(prompts: Sequence[str]) -> NDArray[np.int64]:
    """A number for each prompt, the same for the same."""
    known: dict[str, int] = {}
    return np.array([known.setdefault(prompt, len(known)) for prompt in prompts])
