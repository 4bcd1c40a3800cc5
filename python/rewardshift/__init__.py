"""Aligned decoding on the user's own machine.

``Decoder`` samples from a big target model p as if it had been aligned the way a small draft q was
aligned from its reference r: pi* ∝ p · (q/r)^s.
"""

from __future__ import annotations

from ._core import NgramTable, TableModel
from ._core import version as __version__
from .chat_template import ChatTemplate, Message
from .decoder import Decoder, Prompt
from .embedded import embedded
from .engine import Stream
from .errors import (
    CancelledError,
    ChatTemplateError,
    ContextOverflowError,
    Error,
    EvaluationError,
    ModelLoadError,
    OutOfMemoryError,
    VocabularyMismatchError,
)
from .quantization import quantize
from .results import Chunk, Completion, Score, Seconds, Spread, Statistics, TokenInfo, Work

__all__ = [
    "CancelledError",
    "ChatTemplate",
    "ChatTemplateError",
    "Chunk",
    "Completion",
    "ContextOverflowError",
    "Decoder",
    "Error",
    "EvaluationError",
    "Message",
    "ModelLoadError",
    "NgramTable",
    "OutOfMemoryError",
    "Prompt",
    "Score",
    "Seconds",
    "Spread",
    "Statistics",
    "Stream",
    "TableModel",
    "TokenInfo",
    "VocabularyMismatchError",
    "Work",
    "__version__",
    "embedded",
    "quantize",
]
