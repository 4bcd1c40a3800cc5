"""What each role is to read: text, token ids and messages become token ids here."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import TYPE_CHECKING

from .chat.template import ChatTemplate, Message, template_of, with_system
from .errors import ChatTemplateError

if TYPE_CHECKING:
    from collections.abc import Callable

    from . import _core

Prompt = str | Sequence[int]
"""Text, or token ids."""


class Prompts:
    """The prompts of one decoder, for the vocabulary that its roles share."""

    def __init__(
        self, model: _core.Model | None, *, vocab_size: int, piece: Callable[[int], bytes]
    ) -> None:
        """Of the target's file.

        Args:
            model: The file; None of models that are no files, whose prompts are token ids.
            vocab_size: Ids below this are known to all roles.
            piece: The bytes that a token adds to the text, for models that are no files.
        """
        self._model = model
        self._vocab_size = vocab_size
        self._piece = piece
        self._template: ChatTemplate | None = None

    @property
    def model(self) -> _core.Model:
        """The file; raises ValueError where there is none."""
        if self._model is None:
            raise ValueError("this Decoder's models have no text; give token ids")
        return self._model

    @property
    def has_text(self) -> bool:
        """Whether text can be a prompt."""
        return self._model is not None

    def ids(self, prompt: Prompt, *, add_special: bool = True) -> list[int]:
        """The token ids of a prompt, checked."""
        if isinstance(prompt, str):
            return self.model.tokenize(prompt, add_special, True)
        if isinstance(prompt, bytes):
            raise TypeError(f"a prompt is text or token ids, not {prompt!r}")
        try:
            tokens = [operator.index(token) for token in prompt]
        except TypeError:
            raise TypeError(f"a prompt is text or token ids, not {prompt!r}") from None
        for token in tokens:
            if not 0 <= token < self._vocab_size:
                raise ValueError(f"token {token} is outside the vocabulary [0, {self._vocab_size})")
        return tokens

    def role_ids(self, prompt: Prompt | None) -> list[int]:
        """A role's own prompt; none is the target's, which the core stands in for nothing."""
        return [] if prompt is None else self.ids(prompt)

    def of_messages(
        self, messages: Sequence[Message], *, draft_system: str | None
    ) -> tuple[list[int], list[int] | None]:
        """The target's prompt, and the draft's if it sees another one."""

        def prompt(shown: Sequence[Message]) -> list[int]:
            return self.model.tokenize(self._chat_template.render(shown), False, True)

        return (
            prompt(messages),
            None if draft_system is None else prompt(with_system(messages, draft_system)),
        )

    def text(self, tokens: Sequence[int], *, special: bool = False) -> str:
        """The text of token ids; bytes that are no UTF-8 show as U+FFFD."""
        ids = self.ids(tokens)
        if self._model is None:
            return b"".join(map(self._piece, ids)).decode(errors="replace")
        return self._model.detokenize(ids, special).decode(errors="replace")

    @property
    def _chat_template(self) -> ChatTemplate:
        if self._template is None:
            self._template = template_of(self.model)
            if self._template is None:
                raise ChatTemplateError(
                    f"{self.model.path} has no chat template; use generate() with a prompt of "
                    "your own"
                )
        return self._template
