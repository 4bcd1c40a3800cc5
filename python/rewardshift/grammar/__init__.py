"""What a response may be: JSON, a JSON schema, a grammar, a regular expression, or a choice.

``grammar_of`` turns the options of a request into a grammar of the core's over a ``Vocabulary``.
While a response is decoded, Python takes no part in it.

The work is llguidance's. A mask says what may follow token by token, whichever way text is cut into
tokens; nothing is written in the model's place. What is promised:

- A response that ends is a sentence of the grammar. One that ``max_tokens`` cuts begins one.
- A grammar of more than 1 MiB, or nested deeper than 100 brackets, is refused unread. One that
  takes more than 3 s of processor time, 1 GiB of memory (limited on Linux only) or the stack, is
  refused after a rehearsal in a process of its own, which takes some 30 ms for others.
- A mask that costs more than llguidance's limits, while decoding, is an ``EvaluationError``.

And what is not: a schema's keywords that llguidance does not know as constraints are refused, such
as ``not`` and ``uniqueItems``; names that it never heard of are comments, as JSON Schema has it. A
grammar's terminals take as much text as they can: ``/a+/ "ab"`` has no sentence. A rule that only
leads to itself, however far down, is a response without end.
"""

from __future__ import annotations

from .languages import (
    GRAMMAR_OPTIONS,
    GrammarOptions,
    ResponseFormat,
    schema_text,
    visible_tokens_of,
)
from .vocabulary import Vocabulary, grammar_of

__all__ = [
    "GRAMMAR_OPTIONS",
    "GrammarOptions",
    "ResponseFormat",
    "Vocabulary",
    "grammar_of",
    "schema_text",
    "visible_tokens_of",
]
