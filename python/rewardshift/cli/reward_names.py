"""Rewards as users name them."""

from __future__ import annotations

from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING

from rewardshift.rewards import (
    AfinnReward,
    CautionReward,
    ConcisenessReward,
    FormalityReward,
    FScoreReward,
    GGUFRewardModel,
    JudgeReward,
    LexicalDensityReward,
    LineLengthReward,
    PossibilityReward,
    ProseReward,
    ReadabilityReward,
    VaderReward,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from rewardshift.rewards import Reward

_BY_NAME: dict[str, Callable[[], Reward]] = {
    "vader": VaderReward,
    "afinn": AfinnReward,
    "flesch": partial(ReadabilityReward, "flesch"),
    "dale-chall": partial(ReadabilityReward, "dale-chall"),
    "coleman-liau": partial(ReadabilityReward, "coleman-liau"),
    "conciseness": ConcisenessReward,
    "lexical-density": LexicalDensityReward,
    "formality": FormalityReward,
    "f-score": FScoreReward,
    "caution": CautionReward,
    "possibility": PossibilityReward,
    "prose": ProseReward,
    "line-length": LineLengthReward,
}

REWARDS = f"{', '.join(_BY_NAME)}, judge:FILE.gguf, classifier:FILE.gguf or module:function"


def reward_named(name: str, question: str | None, *, flag: str) -> Reward:
    """The reward of a name.

    Args:
        name: One of ``REWARDS``; a function takes (prompt, response) pairs.
        question: For a judge; None is its own.
        flag: Which option the name was given to.

    Raises:
        ValueError: If there is no such reward.
        Error: If its package is missing, or its model cannot be loaded.
    """
    if name in _BY_NAME:
        return _BY_NAME[name]()
    kind, _, rest = name.partition(":")
    if kind == "judge" and rest:
        return JudgeReward(rest, question or JudgeReward.QUESTION)
    if kind == "classifier" and rest:
        return GGUFRewardModel(rest)
    if not rest:
        raise ValueError(f"{flag} is {REWARDS}, not {name!r}")
    try:
        function: Reward = getattr(import_module(kind), rest)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"{flag} {name}: {error}") from None
    return function


def require_judge(question: str | None, *names: str) -> None:
    """Raises ValueError if a question is asked and no judge is there to answer it."""
    if question is not None and not any(name.startswith("judge:") for name in names):
        raise ValueError("--question is for a judge: --reward judge:FILE.gguf")
