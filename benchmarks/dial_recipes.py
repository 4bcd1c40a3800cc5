"""What the package's dials are trained by, and what judges them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """A dial. Rewards are named as on the command line.

    Attributes:
        name: Its name.
        does: What a target does more with it.
        reward: What it is trained by, and what Best-of-N chooses by.
        golds: What judges it: the first is reported with all comparisons, the others with means.
        system: What a system message would ask for instead.
        margin: Least difference of rewards in a pair.
        max_tokens: Of the responses that are compared.
        prompts: How many.
        beta: DPO's.
        epochs: At most.
    """

    name: str
    does: str
    reward: str
    golds: tuple[str, ...]
    system: str
    margin: float
    max_tokens: int = 64
    prompts: int = 1_500
    beta: float = 0.25
    epochs: int = 2


RECIPES = (
    Recipe(
        name="positive",
        does="sounds positive",
        reward="vader",
        golds=("afinn",),
        system="You are a warm, cheerful, positive assistant. Always sound upbeat.",
        margin=0.5,
        max_tokens=48,
    ),
    Recipe(
        name="plain",
        does="uses short sentences and everyday words",
        reward="flesch",
        golds=("dale-chall", "coleman-liau"),
        system="Use plain language: short sentences, and everyday words that a child knows.",
        margin=25.0,
        prompts=700,
    ),
    Recipe(
        name="concise",
        does="answers in few words",
        reward="conciseness",
        golds=("lexical-density",),
        system="Answer as briefly as you can, in a sentence or two.",
        margin=0.15,
        max_tokens=128,  # answers have to end: those that are cut are all alike to this reward
        prompts=350,
    ),
    Recipe(
        name="formal",
        does="writes formally",
        reward="formality",
        golds=("f-score",),
        system="Write in a formal style, as in an official letter or an encyclopaedia.",
        margin=0.1,
        prompts=700,
    ),
    Recipe(
        name="prose",
        does="writes prose instead of lists and headings",
        reward="prose",
        golds=("line-length",),
        system="Answer in running prose: no lists, no headings, nothing in bold.",
        margin=0.3,
        max_tokens=96,  # lists seldom begin at once
        prompts=700,
    ),
)
