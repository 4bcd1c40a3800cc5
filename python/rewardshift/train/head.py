"""A head for a target, from beginning to end: texts, states, training, a file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from .base_head import output_rows, write_base_head
from .base_training import BaseHeadOptions, known_tokens, learn_base
from .corpus import CorpusOptions, load_all, sample_corpus
from .head_texts import TextOptions, sample_texts, texts_of
from .head_training import HeadOptions, learn_pair, learn_preferences
from .shift_head import write_head
from .target_states import StateOptions, Text, cache_states

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from rewardshift.shifts import Shift

    from .pairs import Pair
    from .target_states import Cache

LEAST_PAIRS = 10
"""Fewer are too few to learn from and to measure with."""

BASE_CORPUS = CorpusOptions(responses=2000, temperatures=(0.8,), shard=128)
"""What a head that drafts learns from, unless other options are given."""

BASE_STATES = StateOptions(likely=64, others=8)
"""What is kept for it: little more than the state. Drafts are mostly likely tokens."""


@dataclass(frozen=True, slots=True)
class HeadReport:
    """What came of it.

    Attributes:
        measured: On what was held out; of a pair the share of KL that is ``explained``, of
            preferences the ``accuracy``, of a head that drafts ``tokens_a_round`` and the
            acceptance by position (``acceptance_1`` and so on).
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


def base_head_of(
    target: Path,
    prompts: Sequence[str] | None,
    run: Path,
    path: Path,
    *,
    name: str,
    sampling: CorpusOptions = BASE_CORPUS,
    keeping: StateOptions = BASE_STATES,
    options: BaseHeadOptions | None = None,
    progress: bool | None = None,
) -> HeadReport:
    """Makes a head that drafts for a target.

    The target answers prompts and reads its answers once more; the head learns from what was kept
    of that, without the target. Goes on where it was stopped.

    Args:
        target: GGUF with a chat template.
        prompts: What is asked, in turn; None asks the built-in prompts.
        run: Folder for responses, states and training.
        path: GGUF to write.
        name: That is written into it.
        sampling: How responses are sampled.
        keeping: What is kept of each position; by itself 64 likely tokens and 8 others.
        options: How the head is trained.
        progress: Whether to show progress; None shows it on a terminal.

    Raises:
        ModelLoadError: If the file cannot be loaded, or a head cannot begin with its output.
        ChatTemplateError: If it has no chat template.
        ValueError: If there is too little to learn from, or the run was begun with other options.
    """
    options = options or BaseHeadOptions()
    output_rows(target, np.zeros(1, np.int32))  # or say at once that there is none
    sample_corpus(target, run / "corpus", sampling, prompts=prompts, progress=progress)
    read = read_responses(target, run, keeping, vocabulary=options.vocabulary, progress=progress)
    head, measured = learn_base(
        target,
        read.cache,
        read.prompts,
        read.tokens,
        run,
        options,
        likely=keeping.likely,
        progress=progress,
    )
    write_base_head(head, path, name=name, target=target)
    return HeadReport.of(read.cache, measured)


@dataclass(frozen=True, slots=True)
class ReadResponses:
    """What a head that drafts learns from.

    Attributes:
        cache: What the target says in its responses.
        prompts: The number of each response's prompt.
        tokens: Ids that the head is to know, ascending.
    """

    cache: Cache
    prompts: NDArray[np.int64]
    tokens: NDArray[np.int32]


def read_responses(
    target: Path,
    run: Path,
    keeping: StateOptions = BASE_STATES,
    *,
    vocabulary: int,
    progress: bool | None = None,
) -> ReadResponses:
    """Has a target read the responses in the folder of a run, as far as they are not read yet.

    Args:
        target: GGUF.
        run: Folder with responses, and with what was read.
        keeping: What is kept of each position.
        vocabulary: How many tokens the head is to know.
        progress: Whether to show progress; None shows it on a terminal.

    Raises:
        ModelLoadError: If the file cannot be loaded.
        ValueError: If there are no responses, or they were read with other options.
    """
    responses = load_all(run / "corpus")
    parts = [np.split(r.tokens, [r.prompt_length]) for r in responses]
    texts = [Text({"target": asked.tolist()}, said.tolist()) for asked, said in parts]
    cache = cache_states(target, texts, run / "states", keeping, progress=progress)
    return ReadResponses(
        cache,
        _numbers([tuple(text.prompts["target"]) for text in texts]),
        known_tokens(target, responses, cache.vocab_size, vocabulary),
    )


def _numbers(prompts: Sequence[Hashable]) -> NDArray[np.int64]:
    """A number for each prompt, the same for the same."""
    known: dict[Hashable, int] = {}
    return np.array([known.setdefault(prompt, len(known)) for prompt in prompts])
