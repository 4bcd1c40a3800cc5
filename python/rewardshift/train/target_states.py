"""What heads learn from: a cache of what a target says at positions of texts, and of its states.

The target reads each text once, as the very GGUF that will be decoded; training does not run it
again. A position's whole vocabulary would take hundreds of kilobytes. What is kept of it is a
sample that stands for all: the most probable tokens of the target and of the goal as they are, and
a few of the others, drawn as the target would draw them, each of which has an equal share of what
probability is left. Sums over these are those over the vocabulary, exactly for the former and on
average for the latter. (Were the others one lump that no head moves, a head could raise rare
tokens unpunished.)
"""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np

from rewardshift import _core
from rewardshift.files.atomic import replacing
from rewardshift.files.run_options import keep_options
from rewardshift.loading.contexts import Contexts
from rewardshift.loading.readers import load_panel
from rewardshift.options import split_load_options
from rewardshift.progress import bars, is_shown

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from rewardshift.shifts import Shift

    Numbers = NDArray[np.floating]
    Ids = NDArray[np.int32]

_ROWS = 32  # of the whole vocabulary, at once
_ROOM = 64  # tokens of a context beside the longest text, for pieces of other vocabularies
_LEAST_LOG_P = -60.0
_MOST_LOG_RATIO = 30.0
_LARGEST_STATE = float(np.finfo(np.float16).max)


@dataclass(frozen=True, slots=True)
class Text:
    """A response to read, behind the prompt that each reader sees.

    Attributes:
        prompts: Token ids by reader, "target" among them, as ``Decoder`` takes them; readers that
            are not named see the target's.
        tokens: Of the response, at least one.
    """

    prompts: Mapping[str, Sequence[int]]
    tokens: Sequence[int]

    def before(self, reader: str, position: int) -> list[int]:
        """What a reader has read before a token of the response."""
        prompt = self.prompts.get(reader, self.prompts["target"])
        return [*prompt, *self.tokens[:position]]


@dataclass(frozen=True, slots=True)
class StateOptions:
    """What is kept.

    Attributes:
        likely: Tokens of a position: one half the target's most probable, the other the goal's.
        others: Drawn from the rest, which they stand for.
        shard: Texts that are saved together; what is saved is not read again.
        seed: Of the draws.
    """

    likely: int = 256
    others: int = 16
    shard: int = 32
    seed: int = 1


@dataclass(frozen=True, slots=True)
class States:
    """What a target says at n positions.

    Attributes:
        states: The final normed hidden state before each token, [n, width].
        ids: Tokens that stand for the vocabulary, [n, k].
        log_p: Natural logarithms of what the target gives them at temperature 1, or of the share of
            the rest that each stands for; their exponentials add up to 1, [n, k].
        log_ratio: A pair's log q − log r of them; 0 where there is no pair, [n, k].
        following: The token of the text that follows, [n].
        texts: The number of the text, ascending, [n].
    """

    states: NDArray[np.float16]
    ids: Ids
    log_p: NDArray[np.float16]
    log_ratio: NDArray[np.float16]
    following: Ids
    texts: Ids

    def digest(self) -> str:
        """What tells them from others."""
        digest = hashlib.sha256()
        for field in fields(self):
            values = np.ascontiguousarray(getattr(self, field.name))
            digest.update(values.data)  # no copy: these may be gigabytes
        return digest.hexdigest()

    @classmethod
    def joined(cls, parts: Sequence[States]) -> States:
        """One after another."""
        return cls(*(np.concatenate([getattr(p, f.name) for p in parts]) for f in fields(cls)))


class StatesReader:
    """Reads texts with a target, and with the pair of a shift where there is one."""

    def __init__(
        self,
        target: Path,
        shift: Shift | None,
        options: StateOptions,
        *,
        longest: int,
        progress: bool | None = None,
    ) -> None:
        """Loads the files.

        Args:
            target: GGUF.
            shift: Whose log-ratios are kept.
            options: What else is.
            longest: Tokens of the longest prompt and response, in any reader's vocabulary.
            progress: Whether to show that files are loaded; None shows it on a terminal.

        Raises:
            ModelLoadError: If a file cannot be loaded, or the target tells no hidden states.
        """
        self._options = options
        shifts = {} if shift is None else {"shift": shift}
        loading = split_load_options({"n_ctx": longest + _ROOM, "n_seq_max": 1})
        panel = load_panel(target, shifts, None, options=loading, progress=progress)
        contexts = Contexts(panel, loading[1])
        self._models: dict[str, _core.LanguageModel] = contexts.shared()
        self._target = _with_features(panel.readers[0].source, longest, contexts.n_threads)
        self._pair = [name for name in panel.names if name != "target"]
        self._refined_tokens = panel.refined_tokens
        self.strength = next((shift.strength for shift in panel.shifts.values()), 1.0)
        self._known = min(model.vocab_size for model in self._models.values())

    @property
    def vocab_size(self) -> int:
        """The target's."""
        return self._target.vocab_size

    def read(self, text: Text, number: int) -> States:
        """What is said at each token of a response.

        Args:
            text: To read.
            number: Its own, which the draws depend on.
        """
        draws = np.random.default_rng([self._options.seed, number])
        starts = range(0, len(text.tokens), _ROWS)
        return States.joined([self._rows(text, start, number, draws) for start in starts])

    def _rows(self, text: Text, start: int, number: int, draws: np.random.Generator) -> States:
        """The same of some of them, the first of which is at ``start``."""
        following = np.array(text.tokens[start : start + _ROWS], np.int32)
        count = len(following)
        asked = (0, text.before("target", start + count - 1), count)
        log_p = _log_softmax(self._target.logits([asked])[:, : self._known])
        states = self._target.features([asked])
        log_ratio = self._log_ratio(text, start + count - 1, log_p)
        goal = _log_softmax(log_p + self.strength * log_ratio) if self._pair else log_p
        ids, weights = _sample(log_p, goal, self._options, draws)
        return States(
            states=states.clip(-_LARGEST_STATE, _LARGEST_STATE).astype(np.float16),
            ids=ids,
            log_p=weights.clip(min=_LEAST_LOG_P).astype(np.float16),
            log_ratio=np.take_along_axis(log_ratio, ids, 1).astype(np.float16),
            following=following,
            texts=np.full(count, number, np.int32),
        )

    def _log_ratio(self, text: Text, last: int, log_p: Numbers) -> Numbers:
        """The pair's log q − log r after each of the positions that end with the last, [n, v]."""
        if not self._pair:
            return np.zeros_like(log_p)
        likely = _refined(log_p, self._refined_tokens)
        q, r = (self._opinion(name, text.before(name, last), likely) for name in self._pair)
        with np.errstate(invalid="ignore"):  # of tokens that neither says
            ratio = np.nan_to_num(q - r, nan=0.0)
        return ratio.clip(-_MOST_LOG_RATIO, _MOST_LOG_RATIO)

    def _opinion(self, name: str, history: list[int], likely: Sequence[list[int]]) -> Numbers:
        """A reader's log-probabilities of the target's tokens, by the law that is decoded."""
        model, count = self._models[name], len(likely)
        rows = model.logits([(0, history, count)])[:, : self._known]
        if not model.tells_log_probabilities:
            rows = _log_softmax(rows)
        if isinstance(model, _core.MappedModel) and model.is_rough:
            ends = range(len(history) - count + 1, len(history) + 1)
            asked = [(0, history[:end], ids) for end, ids in zip(ends, likely, strict=True)]
            for row, corrections in zip(rows, model.refine(asked), strict=True):
                for token, more in corrections:
                    row[token] += more
        return rows


def _with_features(model: _core.Model, longest: int, n_threads: int) -> _core.Context:
    options = _core.ContextOptions()
    options.n_ctx, options.n_seq_max, options.n_threads = longest + _ROOM, 1, n_threads
    options.features = True
    return _core.Context(model, options, _core.Threadpool(n_threads))


def _log_softmax(rows: Numbers) -> Numbers:
    top = rows.max(1, keepdims=True)
    shifted = rows - top
    return np.asarray(shifted - np.log(np.exp(shifted).sum(1, keepdims=True)))


def _refined(log_p: Numbers, count: int) -> list[list[int]]:
    """The target's tokens that readers of other vocabularies weigh by all of their pieces."""
    least = np.log(_core.DecoderOptions().refined_share)
    top = _most_probable(log_p, count)
    return [ids[row[ids] >= least].tolist() for ids, row in zip(top, log_p, strict=True)]


def _most_probable(values: Numbers, count: int) -> NDArray[np.intp]:
    """The ids of the largest values of each row, in any order."""
    if count >= values.shape[1]:
        return np.tile(np.arange(values.shape[1]), (len(values), 1))
    return np.argpartition(-values, count, axis=1)[:, :count]


def _sample(
    log_p: Numbers, goal: Numbers, options: StateOptions, draws: np.random.Generator
) -> tuple[Ids, Numbers]:
    """Tokens that stand for each row's vocabulary, and the logarithms of their shares."""
    first = goal
    if goal is not log_p:
        first = goal.copy()
        np.put_along_axis(first, _most_probable(log_p, options.likely // 2), np.inf, axis=1)
    likely = _most_probable(first, options.likely)
    shares = np.take_along_axis(log_p, likely, 1)
    if likely.shape[1] == log_p.shape[1] or options.others == 0:
        return likely.astype(np.int32), shares
    rest = np.exp(log_p, dtype=np.float64)
    np.put_along_axis(rest, likely, 0.0, axis=1)
    sums = rest.cumsum(1)
    at = draws.random((len(rest), options.others)) * sums[:, -1:]
    others = np.array([row.searchsorted(x, side="right") for row, x in zip(sums, at, strict=True)])
    with np.errstate(divide="ignore"):
        share = np.log(sums[:, -1:] / options.others)
    ids = np.concatenate([likely, others.clip(max=log_p.shape[1] - 1)], 1).astype(np.int32)
    return ids, np.concatenate([shares, np.broadcast_to(share, others.shape)], 1)


# --- the files ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Cache:
    """What was read, and what that took.

    Attributes:
        states: Of all texts.
        vocab_size: The target's.
        strength: The shift's usual one with this target; 1 where there is none.
        seconds: Of reading, all runs together.
        bytes: On disk.
    """

    states: States
    vocab_size: int
    strength: float
    seconds: float
    bytes: int


def cache_states(
    target: Path,
    texts: Sequence[Text],
    folder: Path,
    options: StateOptions,
    *,
    shift: Shift | None = None,
    progress: bool | None = None,
) -> Cache:
    """Reads texts into ``folder``, a file for each shard; goes on where it was stopped.

    Args:
        target: GGUF.
        texts: To read; those of shards that are there, and are of the same texts, are not read
            again.
        folder: Made if it is not there.
        options: What is kept.
        shift: A pair whose log-ratios are kept, of any vocabulary.
        progress: Whether to show progress; None shows it on a terminal.

    Raises:
        ModelLoadError: If a file cannot be loaded.
        ValueError: If there are no texts, or the folder was begun with other options.
    """
    if not texts:
        raise ValueError("there are no texts to read")
    begun_with = {**asdict(options), "target": described_file(target)}
    keep_options(folder / "options.json", begun_with, may_change=())
    starts = range(0, len(texts), options.shard)
    digests = {start: _digest(texts[start : start + options.shard]) for start in starts}
    missing = [start for start in starts if not _is_of(shard_path(folder, start), digests[start])]
    if missing:
        longest = max(len(p) + len(t.tokens) for t in texts for p in t.prompts.values())
        reader = StatesReader(target, shift, options, longest=longest, progress=progress)
        about: dict[str, Any] = {"vocab_size": reader.vocab_size, "strength": reader.strength}
        total = sum(len(text.tokens) for text in texts)
        left = sum(len(t.tokens) for start in missing for t in texts[start : start + options.shard])
        with bars(shown=is_shown(progress), with_time_left=True) as display:
            task = display.add_task("reading with the target", total=total, completed=total - left)
            for start in missing:
                begun = time.monotonic()
                parts = []
                for number in range(start, min(start + options.shard, len(texts))):
                    parts.append(reader.read(texts[number], number))
                    display.advance(task, len(texts[number].tokens))
                about |= {"seconds": time.monotonic() - begun, "digest": digests[start]}
                _save(shard_path(folder, start), States.joined(parts), about)
    return _load([shard_path(folder, start) for start in starts])


def described_file(path: Path) -> str:
    """What tells a file from others of its name, without reading it."""
    return f"{path.name}, {path.stat().st_size} bytes"


def shard_path(folder: Path, start: int) -> Path:
    """Where the texts from number ``start`` on are kept."""
    return folder / f"states-{start:06}.npz"


def _digest(texts: Sequence[Text]) -> str:
    plain = json.dumps(
        [[{k: list(v) for k, v in t.prompts.items()}, list(t.tokens)] for t in texts]
    )
    return hashlib.sha256(plain.encode()).hexdigest()


def _is_of(path: Path, digest: str) -> bool:
    """Whether a shard is there, and of the texts with that digest."""
    if not path.exists():
        return False
    with np.load(path) as file:
        return str(file["digest"]) == digest


def _save(path: Path, states: States, about: Mapping[str, Any]) -> None:
    arrays: dict[str, Any] = {f.name: getattr(states, f.name) for f in fields(States)}
    with replacing(path) as fresh:
        np.savez(fresh, **arrays, **about)


def _load(paths: Sequence[Path]) -> Cache:
    counts, seconds = [], 0.0
    about: dict[str, Any] = {}
    for path in paths:
        with np.load(path) as file:
            counts.append(len(file["texts"]))
            about = {name: file[name].item() for name in ("vocab_size", "strength")}
            seconds += float(file["seconds"])
    size = sum(path.stat().st_size for path in paths)
    states = States(*(_one_array(paths, f.name, sum(counts)) for f in fields(States)))
    return Cache(states, seconds=seconds, bytes=size, **about)


def _one_array(paths: Sequence[Path], name: str, count: int) -> NDArray[Any]:
    """What the files have of that name, one behind the other: in memory once, and not twice."""
    whole: NDArray[Any] | None = None
    filled = 0
    for path in paths:
        with np.load(path) as file:
            part = file[name]
        if whole is None:
            whole = np.empty((count, *part.shape[1:]), part.dtype)
        whole[filled : filled + len(part)] = part
        filled += len(part)
    if whole is None:
        raise ValueError("there are no files to read")
    return whole
