"""Aligned decoding on the user's own machine.

``Decoder`` samples from a big target model p as if it had been aligned the way a small draft q was
aligned from its reference r: pi* ∝ p · (q/r)^s.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from ._core import version as __version__
from .chat.messages import Message
from .chat.template import ChatTemplate
from .decoder import Decoder
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
from .loading.quantize import quantize
from .prompts import Prompt
from .results import Chunk, Completion, Score, Seconds, Spread, Statistics, TokenInfo, Work
from .tables import NgramTable, TableModel

if TYPE_CHECKING:
    from types import ModuleType

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

_MODULES = frozenset(
    ("check", "costs", "evaluate", "hub", "methods", "models", "prompt_files", "rewards")
)
"""What the reference lists beside the names above: imported when it is first asked for."""


def __getattr__(name: str) -> ModuleType:
    if name in _MODULES:
        return import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULES})
