"""What is decoded while measuring."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rewardshift.decoder import Decoder

PROMPTS = (
    "How do I start learning the piano?",
    "What should I cook tonight?",
    "Why is the sky blue?",
    "Tell me about the city of Lisbon.",
    "Explain how a bicycle stays upright.",
    "Write a short story about a lighthouse keeper.",
    "What is the difference between a crocodile and an alligator?",
    "Give me five ideas for a rainy Sunday.",
    "How does a vaccine work?",
    "Describe the taste of a ripe mango.",
    "Which books should I read about the history of science?",
    "Write a function in Python that reverses a list.",
    "Why do leaves change their colour in autumn?",
    "Plan a three-day walk in the mountains.",
    "What makes a good teacher?",
    "Summarise the rules of chess.",
)
"""Distinct, so that no request shares another one's evaluated prompt by luck."""


def endless(decoder: Decoder) -> dict[int, float]:
    """The ``logit_bias`` under which no text ends early: answers of equal length compare fairly."""
    return dict.fromkeys(decoder.end_of_generation, -math.inf)
