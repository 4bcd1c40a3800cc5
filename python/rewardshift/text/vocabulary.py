"""A model file's vocabulary: text to token ids and back."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from rewardshift.boundary import half_a_pair

from .spelling import Stretch, longest_first, spelled_in, stretches_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rewardshift import _core

_KEPT_VISIBLE = ("<|start|>", "<|message|>", "<|channel|>", "<|constrain|>", "<|end|>")
"""Control tokens of gpt-oss that llama.cpp takes for text, to show them; it finds them anywhere."""


class Vocabulary:
    """The vocabulary of one file.

    Control tokens are those that have no text of their own: turn markers and the like, and the
    unknown token. What the file calls user-defined (``<think>`` in some) is text that has a token
    of its own: llama.cpp finds it in any text.
    """

    def __init__(self, model: _core.Model) -> None:
        """Of a model's file."""
        self.model = model

    def tokenize(
        self, text: str, *, add_special: bool = True, parse_special: bool = True
    ) -> list[int]:
        """Token ids of a text; arguments and errors as ``Decoder.tokenize``."""
        _require_unicode(text)
        ids = self.model.tokenize(text, False, True) if parse_special else self._plain(text)
        return self.with_special(ids) if add_special else ids

    def with_special(self, ids: list[int]) -> list[int]:
        """With the begin- and end-of-text tokens that the model wants, unless they are there."""
        begin, end = self._added
        if begin is not None and ids[:1] != [begin]:
            ids = [begin, *ids]
        if end is not None and ids[-1:] != [end]:
            ids = [*ids, end]
        return ids

    def pair(self, first: str, second: str) -> list[int] | None:
        """Token ids of two texts as cross-encoders read them: ``[CLS] first [SEP] second [SEP]``.

        RoBERTa's kin have two separators in the middle. None if the model wants no token at a
        text's end, by which the two could be told apart.
        """
        _require_unicode(first + second)
        begin, end = self._added
        if end is None:
            return None
        doubled = self.model.second_separator
        ids = [] if begin is None else [begin]
        ids += [*self._plain(first), end] + ([] if doubled is None else [doubled])
        return [*ids, *self._plain(second), end]

    def detokenize(self, tokens: Sequence[int], *, special: bool = False) -> str:
        """The text of token ids; bytes that are no UTF-8 show as U+FFFD."""
        return self.model.detokenize(tokens, special).decode(errors="replace")

    def ids_of(self, stretches: Sequence[Stretch]) -> list[int]:
        """Token ids of a prompt whose control tokens are known: all else in it is text."""
        whole = "".join(stretch.text for stretch in stretches)
        _require_unicode(whole)
        if spelled_in(whole, self.spellings) == _places_of_control(stretches):
            return self.model.tokenize(whole, False, True)  # nothing else spells one
        ids: list[int] = []
        for stretch in _joined(stretches):
            if stretch.is_control:
                ids.append(self.control_tokens[stretch.text])
            else:
                ids += self._plain(self._after(ids[-1:], stretch.text))
        return ids

    def stretches_of(self, text: str) -> list[Stretch]:
        """A text in which all control tokens are meant."""
        return stretches_of(text, self.spellings)

    @cached_property
    def control_tokens(self) -> dict[str, int]:
        """Ids by what they spell."""
        found: dict[str, int] = {}
        for token in range(self.model.facts.vocab_size):
            spelled = self.model.detokenize([token], True)
            if spelled and not self.model.detokenize([token], False):
                found.setdefault(spelled.decode(errors="replace"), token)
        return found | self._visible

    @cached_property
    def spellings(self) -> tuple[str, ...]:
        """What the control tokens spell, longest first."""
        return longest_first(self.control_tokens)

    @cached_property
    def _visible(self) -> dict[str, int]:
        """Of ``_KEPT_VISIBLE`` those that are tokens here, with their ids."""
        found = {}
        for spelling in _KEPT_VISIBLE:
            try:
                ids = self.model.tokenize(spelling, False, False)
            except ValueError:  # the vocabulary cannot spell it
                continue
            if len(ids) == 1 and self.model.detokenize(ids, False) == spelling.encode():
                found[spelling] = ids[0]
        return found

    @cached_property
    def _added(self) -> tuple[int | None, int | None]:
        """What the model wants at the beginning and at the end of a text."""
        added = self.model.tokenize("", True, False)
        if len(added) == 1:
            return (added[0], None) if added[0] == self.model.facts.bos else (None, added[0])
        return (added[0], added[-1]) if added else (None, None)

    def _plain(self, text: str) -> list[int]:
        """Ids of a text in which nothing is a control token."""
        parts = [text]
        for spelling in self._visible:  # cut, or llama.cpp would find them
            parts = [piece for part in parts for piece in _cut(part, spelling)]
        return [token for part in parts for token in self.model.tokenize(part, False, False)]

    def _after(self, before: Sequence[int], text: str) -> str:
        """What is left of a text behind a token: some control tokens swallow white space."""
        if not before or not text[:1].isspace():
            return text
        spelled = self.detokenize(before, special=True)
        swallows = self.model.tokenize(f"{spelled}\n", False, True) == list(before)
        return text.lstrip(" \t\n\r\v\f") if swallows else text


def _require_unicode(text: str) -> None:
    if (wrong := half_a_pair(text)) is not None:
        raise ValueError(f"text must be Unicode; {wrong}")


def _places_of_control(stretches: Sequence[Stretch]) -> list[tuple[int, int]]:
    places = []
    start = 0
    for stretch in stretches:
        end = start + len(stretch.text)
        if stretch.is_control:
            places.append((start, end))
        start = end
    return places


def _joined(stretches: Sequence[Stretch]) -> list[Stretch]:
    """The same, with neighbouring texts in one."""
    found: list[Stretch] = []
    for stretch in stretches:
        if found and not (stretch.is_control or found[-1].is_control):
            found[-1] = Stretch(found[-1].text + stretch.text)
        else:
            found.append(stretch)
    return found


def _cut(text: str, spelling: str) -> list[str]:
    """The text in parts without the spelling: it is cut behind its first character each time."""
    first, *others = text.split(spelling)
    parts = [first]
    for other in others:
        parts[-1] += spelling[0]
        parts.append(spelling[1:] + other)
    return parts
