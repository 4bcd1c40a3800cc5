"""Aligned decoding on the user's own machine.

``Decoder`` samples from a big target model p as if it had been aligned the way a small draft q was
aligned from its reference r: pi* ∝ p · (q/r)^s.
"""

from __future__ import annotations

from importlib import import_module

from .embedded import embedded  # not when it is asked for: the module of that name would be found

TYPE_CHECKING = False  # what `typing` has for checkers of types, without importing it
if TYPE_CHECKING:
    from ._core import version as __version__
    from .asking.prompts import Prompt
    from .chat.messages import Message
    from .chat.template import ChatTemplate
    from .decoder import Decoder
    from .engine.engine import Stream
    from .errors import (
        CancelledError,
        ChatTemplateError,
        ContextOverflowError,
        Error,
        EvaluationError,
        GrammarError,
        HeadWarning,
        LengthWarning,
        ModelLoadError,
        OutOfMemoryError,
        VocabularyMismatchError,
        VocabularyWarning,
    )
    from .loading.quantize import quantize
    from .results import (
        Chunk,
        Completion,
        Drafts,
        Score,
        Seconds,
        ShiftStatistics,
        Spread,
        Statistics,
        TokenInfo,
        Work,
    )
    from .shifts import Shift
    from .tables import NgramTable, TableModel

__all__ = [
    "CancelledError",
    "ChatTemplate",
    "ChatTemplateError",
    "Chunk",
    "Completion",
    "ContextOverflowError",
    "Decoder",
    "Drafts",
    "Error",
    "EvaluationError",
    "GrammarError",
    "HeadWarning",
    "LengthWarning",
    "Message",
    "ModelLoadError",
    "NgramTable",
    "OutOfMemoryError",
    "Prompt",
    "Score",
    "Seconds",
    "Shift",
    "ShiftStatistics",
    "Spread",
    "Statistics",
    "Stream",
    "TableModel",
    "TokenInfo",
    "VocabularyMismatchError",
    "VocabularyWarning",
    "Work",
    "__version__",
    "embedded",
    "quantize",
]

_HOMES = {
    "chat.messages": ("Message",),
    "chat.template": ("ChatTemplate",),
    "decoder": ("Decoder",),
    "engine.engine": ("Stream",),
    "errors": (
        *("CancelledError", "ChatTemplateError", "ContextOverflowError", "Error"),
        *("EvaluationError", "GrammarError", "HeadWarning", "LengthWarning", "ModelLoadError"),
        *("OutOfMemoryError", "VocabularyMismatchError", "VocabularyWarning"),
    ),
    "loading.quantize": ("quantize",),
    "asking.prompts": ("Prompt",),
    "results": (
        *("Chunk", "Completion", "Drafts", "Score", "Seconds", "ShiftStatistics", "Spread"),
        *("Statistics", "TokenInfo", "Work"),
    ),
    "shifts": ("Shift",),
    "tables": ("NgramTable", "TableModel"),
}
"""The module that each name above is from: imported when the first of them is asked for.

Ctrl-C at the start of the command line is answered by `cli`, inside this package: until that
listens, as little as possible may be imported.
"""
_MODULES = frozenset(
    ("check", "costs", "evaluate", "hub", "methods", "models", "prompt_files", "rewards")
)
"""What the reference lists beside the names above."""


def __getattr__(name: str) -> object:
    if name == "__version__":
        return _kept(name, import_module(f"{__name__}._core").version)
    for home, names in _HOMES.items():
        if name in names:
            return _kept(name, getattr(import_module(f"{__name__}.{home}"), name))
    if not name.startswith("__"):
        try:
            return import_module(f"{__name__}.{name}")
        except ModuleNotFoundError as error:
            if error.name != f"{__name__}.{name}":
                raise
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def _kept(name: str, value: object) -> object:
    """The value, which is found without a search from now on."""
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_MODULES})
