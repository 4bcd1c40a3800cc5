"""What a response may be: JSON, a JSON schema, a grammar, a regular expression, or a choice.

``grammar_of`` turns the options of a request into a grammar of the core's over a ``Vocabulary``.
While a response is decoded, Python takes no part in it.
"""

from __future__ import annotations

from .languages import GRAMMAR_OPTIONS, GrammarOptions, ResponseFormat
from .vocabulary import Vocabulary, grammar_of

__all__ = ["GRAMMAR_OPTIONS", "GrammarOptions", "ResponseFormat", "Vocabulary", "grammar_of"]
