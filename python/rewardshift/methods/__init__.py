"""Systems beside shifted speculative sampling, on the same models with the same accounting.

Each is a small class over the public ``Decoder``; ``by_name`` makes one from a line of text. Their
docstrings say what they follow: [code] for the authors' own code, [notes] for descriptions of it.
"""

from __future__ import annotations

from .args import ARGS
from .best_of_n import BestOfN, soft_best_of_n
from .cards import CARDS, calibrate
from .gsi import GSI, RSD
from .method import Answer, Method
from .names import METHODS, by_name
from .plain import SSS, TargetOnly, ThreeModel
from .question import Question
from .stand import STAND
from .treebon import TreeBoN

__all__ = [
    "ARGS",
    "CARDS",
    "GSI",
    "METHODS",
    "RSD",
    "SSS",
    "STAND",
    "Answer",
    "BestOfN",
    "Method",
    "Question",
    "TargetOnly",
    "ThreeModel",
    "TreeBoN",
    "by_name",
    "calibrate",
    "soft_best_of_n",
]
