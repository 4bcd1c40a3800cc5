"""The one exception hierarchy. Wrong arguments raise ValueError or TypeError instead."""

from __future__ import annotations


class Error(RuntimeError):
    """Something went wrong in spite of right arguments; the base of all errors here."""


class ModelLoadError(Error):
    """A model or adapter file that cannot be read, or that cannot be decoded with."""


class VocabularyMismatchError(Error):
    """A pair's two models speak different vocabularies; the message names the first such token."""


class ContextOverflowError(Error):
    """A prompt does not fit the context.

    Attributes:
        needed: Tokens that the request needs.
        available: Tokens that the context holds.
    """

    def __init__(self, message: str, needed: int, available: int) -> None:
        """See the class."""
        super().__init__(message)
        self.needed = needed
        self.available = available


class OutOfMemoryError(Error):
    """Memory that could not be had.

    Attributes:
        bytes: The size asked for; 0 where it is not known.
    """

    def __init__(self, message: str, bytes: int) -> None:  # noqa: A002 - what it counts
        """See the class."""
        super().__init__(message)
        self.bytes = bytes


class GrammarError(Error, ValueError):
    """A grammar, schema or regular expression that cannot be compiled within its limits."""


class EvaluationError(Error):
    """A model could not be evaluated, or its logits are not a distribution."""


class CancelledError(Error):
    """The caller interrupted an operation."""


class LengthWarning(UserWarning):
    """A context or a request is longer than what a model was trained for."""


class VocabularyWarning(UserWarning):
    """A model of another vocabulary lacks many of the tokens that the target usually says."""


class HeadWarning(UserWarning):
    """A classification head lacks a layer that such a model has."""


class ChatTemplateError(Error):
    """The model has no chat template, or it cannot render these messages."""
