"""What a response is worth: a number for each prompt and response, higher being better."""

from __future__ import annotations

from .afinn import AfinnReward
from .cached import CachedReward
from .gguf import GGUFRewardModel
from .implicit import ImplicitReward
from .judge import JudgeReward
from .reward import Exchange, Reward, scores
from .vader import VaderReward

__all__ = [
    "AfinnReward",
    "CachedReward",
    "Exchange",
    "GGUFRewardModel",
    "ImplicitReward",
    "JudgeReward",
    "Reward",
    "VaderReward",
    "scores",
]
