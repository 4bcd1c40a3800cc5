"""A conversation as token ids, which readers of other vocabularies read in their own templates."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from typing_extensions import Self


class ChatPrompt(list[int]):
    """The target's token ids of a conversation, and what readers of other vocabularies see of it.

    It is a list like any other. As long as it begins with the conversation, those readers see that
    in their own chat templates, and what stands behind it as text; once that was changed, they see
    the target's tokens, like of any list of ids.
    """

    def __init__(self, tokens: Iterable[int], own: Mapping[str, list[int]]) -> None:
        """Of one rendered conversation.

        Args:
            tokens: The target's.
            own: By the reader's name, of those of other vocabularies.
        """
        super().__init__(tokens)
        self._rendered = tuple(self)
        self._own = dict(own)

    def seen_by(self, reader: str) -> list[int]:
        """The ids that a reader of another vocabulary is to see."""
        length = len(self._rendered)
        if reader not in self._own or tuple(self[:length]) != self._rendered:
            return list(self)
        return [*self._own[reader], *self[length:]]

    def followed_by(self, tokens: Iterable[int]) -> Self:
        """The same conversation, and these ids of the target behind it."""
        longer = type(self)(self._rendered, self._own)
        longer[:] = [*self, *tokens]
        return longer
