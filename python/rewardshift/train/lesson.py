"""What a student reads of a response, and what it is to say at each position.

A student of the target's whole vocabulary reads the target's tokens, and is to say what the target
would say. One of a part of it (``vocabulary``) reads the same bytes in its own canonical
tokenisation, as it will when it is used, and is to say what becomes of the target's tokens there:
their pieces.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from rewardshift import _core
from rewardshift.loading.models import load_model

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from .corpus import Response

    Ids = NDArray[np.signedinteger]
    Numbers = NDArray[np.floating]

_NO_PIECE = -1


@dataclass(frozen=True, slots=True)
class Lesson:
    """A prompt and a response as a student reads them, and what it is to say.

    Attributes:
        tokens: Prompt and response, [n].
        rows: The positions of which it is said what should follow, ascending, [m].
        top_ids: The most probable tokens that should, [m, k]; of a test, also the one behind the
            student's last, for whatever it has no token for.
        top_logprobs: Their natural logarithms at temperature 1, [m, k]. What is only there to fill
            a row has probability 0.
    """

    tokens: Ids
    rows: Ids
    top_ids: Ids
    top_logprobs: Numbers


class Reader:
    """Makes lessons for a student of the target's whole vocabulary."""

    def lesson(self, response: Response, top_k: int) -> Lesson:
        """To learn from: the ``top_k`` most probable tokens."""
        return Lesson(
            tokens=response.tokens,
            rows=np.arange(response.prompt_length - 1, len(response.tokens) - 1),
            top_ids=response.top_ids[:, :top_k],
            top_logprobs=response.top_logprobs[:, :top_k],
        )

    def test(self, response: Response) -> Lesson:
        """To measure acceptance by: all of the target's tokens that are known."""
        return self.lesson(response, response.top_ids.shape[1])


class PartReader(Reader):
    """Makes lessons for a student of a part of the target's vocabulary.

    Where a token of the target begins, the label of a piece is the mass of all the target's likely
    tokens that begin with it. Inside of one, it is the mass of those that begin with the pieces
    read so far and go on with this one, divided by that of all that go on. Positions of both kinds
    come as often as the target says such tokens, so that over the corpus a piece is learned with
    its marginal probability. Where nothing of the kind is known, the piece that follows is the
    label, as the sample that it is: inside of an unlikely token, and behind a piece that reached
    over the end of a token, up to the next one that begins with a piece.
    """

    def __init__(self, target: Path, student: Path, kept: Ids) -> None:
        """Loads both vocabularies.

        Args:
            target: GGUF.
            student: GGUF of a model of the part.
            kept: The target's id of each token of the part.
        """
        whole, part = (_vocabulary_of(path) for path in (target, student))
        known = _core.VocabularyMap(whole, part)
        tokens = range(len(whole))
        pieces = [known.pieces(token) for token in tokens]
        twins = np.array([known.has_twin(token) for token in tokens])
        self._reading = _core.Reading(known)
        self._size, self._part_size = len(whole), len(part)
        self._pieces = np.full((len(whole), 1 + max(map(len, pieces))), _NO_PIECE)
        for token, found in enumerate(pieces):
            self._pieces[token, : len(found)] = found
        self._twins = np.where(twins, self._pieces[:, 0], len(part))
        # A control token is as long as a byte, one that corresponds to nothing has no length.
        self._lengths = np.array([len(whole.bytes_of(token)) for token in tokens])
        self._lengths[(self._lengths == 0) & twins] = 1
        self._part_lengths = np.array([len(part.bytes_of(d)) or 1 for d in range(len(part))])
        own_ids = {int(token): d for d, token in enumerate(kept)}
        self._in_prompts = [
            len(whole) + own_ids[token] if self._lengths[token] == 0 and token in own_ids else token
            for token in tokens
        ]

    def lesson(self, response: Response, top_k: int) -> Lesson:
        """To learn from: the ``top_k`` most probable pieces, half the vocabulary at most."""
        prompt, said = self._read(response)
        token, depth = self._places(response.tokens[response.prompt_length :], said)
        likely = response.top_ids[token]
        mass = np.exp(response.top_logprobs[token].astype(np.float64))
        ids = self._piece_at(likely, depth)
        for back in range(1, 1 + max(depth, default=0)):
            went_before = self._piece_at(likely, depth - back) == np.roll(said, back)[:, None]
            ids = np.where((depth < back)[:, None] | went_before, ids, _NO_PIECE)
        ids[depth < 0] = _NO_PIECE
        mass[ids == _NO_PIECE] = 0.0
        total = mass.sum(1)
        mass[depth > 0] /= np.where(total > 0, total, 1.0)[depth > 0, None]
        ids[total == 0, 0], mass[total == 0, 0] = said[total == 0], 1.0
        top_k = min(top_k, ids.shape[1], self._part_size // 2)
        top_ids, mass = _most_probable(ids, mass, top_k)
        with np.errstate(divide="ignore"):
            logprobs = np.log(mass).astype(np.float32)
        return Lesson(
            tokens=np.concatenate([prompt, said]),
            rows=len(prompt) - 1 + np.arange(len(said)),
            top_ids=top_ids,
            top_logprobs=logprobs,
        )

    def test(self, response: Response) -> Lesson:
        """To measure acceptance by: the target's tokens where they begin, as their twins."""
        prompt, said = self._read(response)
        token, depth = self._places(response.tokens[response.prompt_length :], said)
        begins = np.flatnonzero(depth == 0)
        return Lesson(
            tokens=np.concatenate([prompt, said]),
            rows=len(prompt) - 1 + begins,
            top_ids=self._twins[response.top_ids[token[begins]]],
            top_logprobs=response.top_logprobs[token[begins]],
        )

    def _read(self, response: Response) -> tuple[Ids, Ids]:
        """Prompt and response, each read by itself, as in a conversation."""
        asked, said = np.split(response.tokens, [response.prompt_length])
        prompt = self._after([self._in_prompts[token] for token in asked])
        as_is = [self._size + piece for piece in prompt]
        both = np.array(self._after([*as_is, *said.tolist()]), np.int64)
        return both[: len(prompt)], both[len(prompt) :]

    def _after(self, history: list[int]) -> list[int]:
        self._reading.read(history)
        return self._reading.after(len(history))

    def _places(self, tokens: Ids, pieces: Ids) -> tuple[Ids, Ids]:
        """In which token each piece begins, and how many pieces of that token come before it.

        The latter is −1 where no piece begins with the token, and throughout where the part cannot
        spell all bytes.
        """
        ends, piece_ends = self._lengths[tokens].cumsum(), self._part_lengths[pieces].cumsum()
        starts, piece_starts = ends - self._lengths[tokens], piece_ends - self._part_lengths[pieces]
        if ends[-1:].tolist() != piece_ends[-1:].tolist():
            return np.zeros_like(pieces), np.full_like(pieces, -1)
        token = np.searchsorted(starts, piece_starts, side="right") - 1
        first = np.searchsorted(piece_starts, starts[token])
        depth = np.where(piece_starts[first] == starts[token], np.arange(len(pieces)) - first, -1)
        return token, depth

    def _piece_at(self, tokens: Ids, number: Ids) -> Ids:
        """The pieces of that number of tokens, [m, k], a number for each row."""
        return self._pieces[tokens, np.minimum(number, self._pieces.shape[1] - 1)[:, None]]


def _vocabulary_of(path: Path) -> _core.Vocabulary:
    on_cpu = _core.ModelOptions()  # mapped, not read
    on_cpu.n_gpu_layers = 0
    return _core.Vocabulary.of_model(load_model(path, on_cpu, progress=False))


def _most_probable(ids: Ids, mass: Numbers, top_k: int) -> tuple[Ids, Numbers]:
    """The masses of equal ids added up, largest first; ids of no mass fill what is left.

    Args:
        ids: [m, n].
        mass: [m, n].
        top_k: At most n and half of the ids that there are.

    Returns:
        Ids that differ, and their masses, [m, top_k] each.
    """
    is_same = ids[:, :, None] == ids[:, None, :]
    total = (is_same * mass[:, None, :]).sum(2)
    total[is_same.argmax(2) != np.arange(ids.shape[1])] = 0.0  # it was counted before
    order = np.argsort(-total, axis=1, kind="stable")[:, :top_k]
    top_ids, top = np.take_along_axis(ids, order, 1), np.take_along_axis(total, order, 1)
    is_free = np.ones((len(ids), 2 * top_k), bool)  # of the lowest ids: not in the row
    rows, places = np.nonzero((top > 0) & (top_ids < 2 * top_k))
    is_free[rows, top_ids[rows, places]] = False
    free = np.argsort(~is_free, axis=1, kind="stable")[:, :top_k]
    return np.where(top > 0, top_ids, free), top
