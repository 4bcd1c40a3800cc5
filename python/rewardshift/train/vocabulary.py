"""Vocabularies as GGUF files have them, and parts of them for smaller students.

A part is a set of tokens that its own merges reach: with any token it has all that this one is
merged from. Merges keep their order. So the target's tokenizer with the part's merges cuts any text
into tokens of the part, and the bytes of any token of the part into that one.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from gguf import GGUFReader, GGUFValueType, TokenType

from rewardshift.errors import ModelLoadError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from .corpus import Response

_PREFIX = "tokenizer."
_MODEL, _TOKENS, _TYPES, _SCORES, _MERGES = (
    f"{_PREFIX}ggml.{name}" for name in ("model", "tokens", "token_type", "scores", "merges")
)
_SPECIAL = "_token_id"  # how keys of special tokens end
_WHOLE = f"{_PREFIX}huggingface.json"  # all tokens once more
_BYTE_LEVEL = "gpt2"


@dataclass(frozen=True, slots=True)
class GgufVocabulary:
    """Tokens, merges, special ids, and the chat template.

    Attributes:
        path: The file that says so.
        keys: Values and their types in the file, by key.
    """

    path: Path
    keys: Mapping[str, tuple[Any, list[GGUFValueType]]]

    @classmethod
    def of(cls, path: Path) -> GgufVocabulary:
        """A file's.

        Raises:
            ModelLoadError: If it has none.
        """
        fields = GGUFReader(path).fields
        keys = {k: (f.contents(), f.types) for k, f in fields.items() if k.startswith(_PREFIX)}
        if _TOKENS not in keys:
            raise ModelLoadError(f"{path} has no tokens")
        return cls(path, keys)

    @property
    def tokens(self) -> list[str]:
        """As the file spells them, by id."""
        return list(self._value(_TOKENS))

    @property
    def special(self) -> set[int]:
        """Ids that begin and end texts and turns, and others that the file names."""
        return {int(self._value(key)) for key in self.keys if key.endswith(_SPECIAL)}

    # --- parts ----------------------------------------------------------------------------------

    def require_part_of(self, size: int) -> None:
        """Makes sure that ``commonest`` can choose so many tokens.

        Raises:
            ModelLoadError: If no parts are made of vocabularies of this kind.
            ValueError: If it has no more tokens, or as many that are necessary.
        """
        kind = self._value(_MODEL)
        if kind != _BYTE_LEVEL:
            raise ModelLoadError(
                f"{self.path} has a vocabulary of the kind {kind!r}: only byte-level BPE "
                f"({_BYTE_LEVEL!r}) can be trimmed; distil it with all of its tokens"
            )
        count, least = len(self.tokens), len(self._necessary())
        if size >= count:
            raise ValueError(f"{self.path} has {count} tokens: {size} of them would be all")
        if size <= least:
            raise ValueError(
                f"a vocabulary of {size} tokens is too small: it has to be larger than {least}, "
                f"the number of single bytes and control tokens of {self.path}"
            )

    def commonest(self, counts: NDArray[np.float64], size: int) -> NDArray[np.int32]:
        """A part of at most so many tokens, as ascending ids.

        What any part must have comes first: single bytes, and all that is no ordinary token. Then
        come the commonest tokens, and at last those that do not occur, in the order of their ids,
        which is that of their merges; each with all that it is merged from, if there is room. What
        the merges do not make of its own bytes is left out: no text is ever cut into that.

        Args:
            counts: How common each token is.
            size: As ``require_part_of`` allows.
        """
        ids = {text: i for i, text in enumerate(self.tokens)}
        ranks = {_pair(merge): rank for rank, merge in enumerate(self._value(_MERGES))}
        kept = self._necessary()
        for token in np.argsort(-counts, kind="stable").tolist():
            if len(kept) >= size:
                break
            if token in kept or self._type_of(token) != TokenType.NORMAL:
                continue
            made = merged(self.tokens[token], ranks)
            if self.tokens[token] in made and made <= ids.keys():
                more = kept | {ids[text] for text in made}
                kept = more if len(more) <= size else kept
        return np.array(sorted(kept), np.int32)

    def part(self, kept: Sequence[int] | NDArray[np.int32]) -> GgufVocabulary:
        """These tokens only; their new ids are their places in ``kept``."""
        new_ids = {int(old): new for new, old in enumerate(kept)}
        spelled = {self.tokens[old] for old in new_ids}
        keys = {key: value for key, value in self.keys.items() if key != _WHOLE}
        for key, (value, types) in keys.items():
            if key in (_TOKENS, _TYPES, _SCORES):
                keys[key] = [value[old] for old in new_ids], types
            elif key.endswith(_SPECIAL):
                keys[key] = new_ids[value], types
            elif key == _MERGES:
                keys[key] = [m for m in value if spelled.issuperset(_with_result(m))], types
        return GgufVocabulary(self.path, keys)

    def places_of(self, part: GgufVocabulary) -> NDArray[np.int32] | None:
        """Which of these tokens another vocabulary's are, by id there; None if it is the same.

        Raises:
            ModelLoadError: If it has tokens that this one lacks.
        """
        if part.tokens == self.tokens:
            return None
        ids = {text: i for i, text in enumerate(self.tokens)}
        missing = [text for text in part.tokens if text not in ids]
        if missing:
            raise ModelLoadError(
                f"{part.path} is no student of {self.path}, which has no token {missing[0]!r}"
            )
        return np.array([ids[text] for text in part.tokens], np.int32)

    def _necessary(self) -> set[int]:
        return self.special | {
            token
            for token, text in enumerate(self.tokens)
            if (kind := self._type_of(token)) != TokenType.UNUSED
            and (kind != TokenType.NORMAL or len(text) == 1)
        }

    def _type_of(self, token: int) -> int:
        return int(self._value(_TYPES)[token])

    def _value(self, key: str) -> Any:  # noqa: ANN401 - what the file has
        return self.keys[key][0]


def _pair(merge: str) -> tuple[str, str]:
    """The two tokens that a merge joins: the first character may be a space of its own."""
    at = merge.index(" ", 1)
    return merge[:at], merge[at + 1 :]


def _with_result(merge: str) -> tuple[str, str, str]:
    left, right = _pair(merge)
    return left, right, left + right


def merged(text: str, ranks: Mapping[tuple[str, str], int]) -> set[str]:
    """All tokens that merging a text makes on its way.

    Args:
        text: In the spelling of byte-level BPE, a character for each byte.
        ranks: Of the merges: the lowest one is done first, and its leftmost pair of those.
    """
    parts, made = list(text), set(text)
    never = len(ranks)
    while len(parts) > 1:
        found = [ranks.get(pair, never) for pair in pairwise(parts)]
        if (lowest := min(found)) == never:
            break
        at = found.index(lowest)
        parts[at : at + 2] = [parts[at] + parts[at + 1]]
        made.add(parts[at])
    return made


def counts_of(responses: Iterable[Response], size: int) -> NDArray[np.float64]:
    """How common each of a target's tokens is, [size].

    Prompts count as they are. In a response each position counts as the target's own opinion of it:
    that tells more of rare tokens than the one that happened to be said.
    """
    counts = np.zeros(size)
    for response in responses:
        np.add.at(counts, response.tokens[: response.prompt_length], 1.0)
        np.add.at(counts, response.top_ids, np.exp(response.top_logprobs.astype(np.float64)))
    return counts
