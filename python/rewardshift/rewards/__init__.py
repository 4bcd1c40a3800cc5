"""What a response is worth: a number for each prompt and response, higher being better."""

from __future__ import annotations

from .afinn import AfinnReward
from .cached import CachedReward
from .caution import CautionReward, PossibilityReward
from .conciseness import ConcisenessReward
from .formality import FormalityReward
from .gguf import GGUFRewardModel
from .implicit import ImplicitReward
from .judge import JudgeReward
from .parts_of_speech import FScoreReward, LexicalDensityReward
from .prose import LineLengthReward, ProseReward
from .readability import ReadabilityFormula, ReadabilityReward
from .reward import Exchange, Reward, scores
from .vader import VaderReward

__all__ = [
    "AfinnReward",
    "CachedReward",
    "CautionReward",
    "ConcisenessReward",
    "Exchange",
    "FScoreReward",
    "FormalityReward",
    "GGUFRewardModel",
    "ImplicitReward",
    "JudgeReward",
    "LexicalDensityReward",
    "LineLengthReward",
    "PossibilityReward",
    "ProseReward",
    "ReadabilityFormula",
    "ReadabilityReward",
    "Reward",
    "VaderReward",
    "scores",
]
