"""The prompts that come with the package, written for it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib.resources import files
from typing import Literal

Split = Literal["calibration", "held_out"]


@dataclass(frozen=True, slots=True)
class EvaluationPrompt:
    """A prompt.

    Attributes:
        prompt: What the user writes.
        kind: question, advice, remark, creative, explanation, instruction or opinion.
        split: "calibration" is for choosing strengths and thresholds, "held_out" for reporting.
    """

    prompt: str
    kind: str
    split: Split


def evaluation_prompts(split: Split | None = None) -> list[EvaluationPrompt]:
    """The prompts in their order, kinds in turn: the first few are of several kinds.

    None of them is a prompt that the package trains, checks or measures speed with.

    Args:
        split: Which part; None is all.
    """
    text = files(__package__).joinpath("prompts.jsonl").read_text(encoding="utf-8")
    found = [EvaluationPrompt(**json.loads(line)) for line in text.splitlines()]
    return [prompt for prompt in found if split in (None, prompt.split)]
