"""What decoding returns. All log-probabilities are natural logarithms."""

from __future__ import annotations

import math
import statistics as stats
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, cast

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from . import _core
    from .readers import AnyPanel

Origin = Literal["draft", "correction", "bonus", "forced"]
FinishReason = Literal["stop", "length", "cancelled"]


def _exp(value: float) -> float:
    try:
        return math.exp(value)
    except OverflowError:
        return math.inf


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value


@dataclass(frozen=True, slots=True)
class TokenInfo:
    """A token of the response and the opinions that led to it.

    Attributes:
        id: Its id.
        text: What it adds to the text; a partial UTF-8 character shows as U+FFFD.
        origin: An accepted draft, the correction of a rejected one, a bonus drawn from the goal
            (after a fully accepted draft, or in decoding without drafts), or forced: the only token
            that a grammar allowed, taken without asking any model.
        logprob: Of the law it was sampled from; at temperature 0, where that is a point mass, of
            pi* at temperature 1.
        target_logprob: Of the target's own distribution at temperature 1; None of a forced token.
        draft_logprob: Likewise of the draft's; None where it took no part, and with several shifts.
        reference_logprob: Likewise of the reference's.
        shifts: log q − log r of each shift by its name, free of its strength; of those that took
            part.
        log_z: log Z_s at its position; None without a shift.
        paper_distance: Total variation between the paper rule's law and pi* at its position; None
            where nothing was drafted, and unless ``paper_distance`` asked for it.
        top_logprobs: The goal's most probable tokens, most probable first, as many as asked for.
        twins: The target's mass, at temperature 1, on tokens that a shift's vocabulary has as well,
            by the shift's name; of shifts of other vocabularies that took part.
        target_entropy: Of the target's own distribution at temperature 1, at its position, in nats;
            None unless ``entropy`` asked for it.
    """

    id: int
    text: str
    origin: Origin
    logprob: float
    target_logprob: float | None
    draft_logprob: float | None
    reference_logprob: float | None
    log_z: float | None
    paper_distance: float | None
    top_logprobs: dict[int, float] = field(default_factory=dict)
    target_entropy: float | None = None
    shifts: dict[str, float] = field(default_factory=dict)
    twins: dict[str, float] = field(default_factory=dict)

    @property
    def implicit_reward(self) -> float | None:
        """The only shift's implicit reward of the token, log q − log r, free of s."""
        return next(iter(self.shifts.values())) if len(self.shifts) == 1 else None

    @classmethod
    def from_core(cls, token: _core.EmittedToken, text: str, panel: AnyPanel) -> TokenInfo:
        """Takes over what the core emitted."""
        by_reader = [_known(logprob) for logprob in token.reader_logprobs]
        shifts = {}
        for name, shift in panel.shifts.items():
            if all(by_reader[reader] is not None for reader in shift.readers):
                shifts[name] = shift.log_ratio(token.reader_logprobs)
        return cls(
            id=token.id,
            text=text,
            origin=cast("Origin", token.origin),
            logprob=token.logprob,
            target_logprob=by_reader[0],
            draft_logprob=None if panel.draft is None else by_reader[panel.draft],
            reference_logprob=None if panel.reference is None else by_reader[panel.reference],
            log_z=_known(token.log_z),
            paper_distance=_known(token.paper_distance),
            top_logprobs=dict(token.top_logprobs),
            target_entropy=_known(token.target_entropy),
            shifts=shifts,
            twins={
                name: twins
                for name, twins in zip(panel.shifts, token.twins, strict=True)
                if not math.isnan(twins)
            },
        )


def target_logprobs_of(steps: Iterable[TokenInfo]) -> tuple[float, ...]:
    """What the target says of each token, those left out that a grammar forced."""
    told = (step.target_logprob for step in steps)
    return tuple(logprob for logprob in told if logprob is not None)


@dataclass(frozen=True, slots=True)
class Seconds:
    """Where the time of a request went; a batch's time is divided equally among its requests.

    Attributes:
        target: Spent on the target.
        draft: On whatever drafts: the drafts of all shifts, and a base.
        reference: On the references of all shifts.
        own: In our own code, heads included.
        readers: On each reader, by name.
    """

    target: float
    draft: float
    reference: float
    own: float
    readers: dict[str, float] = field(default_factory=dict)

    @property
    def total(self) -> float:
        """All of it."""
        return self.target + self.draft + self.reference + self.own

    @classmethod
    def from_core(cls, core: _core.Statistics, panel: AnyPanel) -> Seconds:
        """Adds up what the core measured, by what each reader is to the shifts."""
        by_role = dict.fromkeys(("target", "draft", "reference", "head", "base"), 0.0)
        for reader, seconds in zip(panel.readers, core.reader_seconds, strict=True):
            by_role[reader.role] += seconds
        return cls(
            target=by_role["target"],
            draft=by_role["draft"] + by_role["base"],
            reference=by_role["reference"],
            own=core.own_seconds + by_role["head"],
            readers=dict(zip(panel.names, core.reader_seconds, strict=True)),
        )


@dataclass(frozen=True, slots=True)
class Work:
    """What a model has evaluated.

    Attributes:
        tokens: Tokens, those left out that its cache answered for.
        batches: Calls of the network, each of one or more tokens.
    """

    tokens: int
    batches: int

    def __add__(self, other: Work) -> Work:
        """Both together."""
        return Work(self.tokens + other.tokens, self.batches + other.batches)

    def __sub__(self, earlier: Work) -> Work:
        """What came after an earlier reading."""
        return Work(self.tokens - earlier.tokens, self.batches - earlier.batches)


@dataclass(frozen=True, slots=True)
class Spread:
    """Mean, median and 90th percentile of a quantity over the tokens of a response."""

    mean: float
    median: float
    p90: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread | None:
        """The spread of some values; None of none."""
        if not values:
            return None
        ordered = sorted(values)
        return cls(
            mean=stats.fmean(ordered),
            median=stats.median(ordered),
            p90=ordered[min(len(ordered) - 1, math.ceil(0.9 * len(ordered)) - 1)],
        )


@dataclass(frozen=True, slots=True)
class ShiftStatistics:
    """What a shift says of a response.

    Attributes:
        implicit_reward: Sum of log q − log r over its tokens, in nats.
        mean_abs_log_ratio: Mean of the absolute value, a token.
        twins: The target's mass on tokens that the shift's vocabulary has as well, mean over the
            positions; None where that is the target's own.
        refined_tokens: How many of the target's most probable tokens were weighed by all of their
            pieces in that vocabulary, as far as each has a share of 0.003 of the target's mass;
            others that it lacks, by their first.
    """

    implicit_reward: float
    mean_abs_log_ratio: float
    twins: float | None = None
    refined_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class Drafts:
    """Tokens that one source drafted, and how many of them became part of the response."""

    drafted: int
    accepted: int


SOURCES = ("plain", "shifted", "table", "quote")
"""Where drafts are from, as the core counts them."""


@dataclass(frozen=True, slots=True)
class Statistics:
    """What a request cost and how its decisions fell.

    Attributes:
        tokens: Tokens of the response.
        rounds: Rounds played; each emits at least one token.
        drafted: Tokens drafted.
        accepted: Of these, the ones that became part of the response.
        acceptance_by_position: Share of the decisions at each position of the draft that accepted;
            in a tree, one of the tokens that were drafted there.
        empty_residuals: Corrections drawn from pi* for want of a residual (rule "paper").
        seconds: Time by role and in our own code, prefill included.
        z: Z_s over the positions of the response; None without a shift. Near 1 where the paper's
            assumption of a well aligned draft holds.
        paper_distance: Total variation between the paper rule's law and pi*, over the positions
            that a model drafted; None without any, and unless ``paper_distance`` asked for it.
        implicit_reward: Sum of log q − log r over the response; None without a shift, and with
            several: see ``shifts``.
        shifts: Likewise and more of each shift that took part, by its name.
        sources: Drafts by where they were from: ``plain`` (a base as it is, or the pair's draft),
            ``shifted`` (a base times the shifts), ``table`` (``drafter``), ``quote``
            (``prompt_lookup``).
    """

    tokens: int
    rounds: int
    drafted: int
    accepted: int
    acceptance_by_position: tuple[float, ...]
    empty_residuals: int
    seconds: Seconds
    z: Spread | None
    paper_distance: Spread | None
    implicit_reward: float | None
    shifts: dict[str, ShiftStatistics] = field(default_factory=dict)
    sources: dict[str, Drafts] = field(default_factory=dict)

    @property
    def acceptance(self) -> float | None:
        """Accepted share of the drafted tokens; None if nothing was drafted."""
        return self.accepted / self.drafted if self.drafted else None

    @property
    def tokens_per_round(self) -> float | None:
        """Tokens emitted per round, which costs the target one evaluation."""
        return self.tokens / self.rounds if self.rounds else None

    @property
    def tokens_per_second(self) -> float | None:
        """Tokens of the response per second of all time spent on the request."""
        return self.tokens / self.seconds.total if self.seconds.total > 0 else None

    @classmethod
    def from_core(
        cls, core: _core.Statistics, tokens: Sequence[TokenInfo], panel: AnyPanel
    ) -> Statistics:
        """Joins the core's counts with what its tokens say."""
        shifts = _shift_statistics(tokens, panel)
        only = next(iter(shifts.values())) if len(panel.shifts) == len(shifts) == 1 else None
        distances = [t.paper_distance for t in tokens if t.paper_distance is not None]
        return cls(
            tokens=len(tokens),
            rounds=core.rounds,
            drafted=core.drafted,
            accepted=core.accepted,
            acceptance_by_position=tuple(
                a / d for a, d in zip(core.accepted_at, core.drafted_at, strict=True)
            ),
            empty_residuals=core.empty_residuals,
            seconds=Seconds.from_core(core, panel),
            z=Spread.of([_exp(t.log_z) for t in tokens if t.log_z is not None]),
            paper_distance=Spread.of(distances),
            implicit_reward=None if only is None else only.implicit_reward,
            shifts=shifts,
            sources={
                source: Drafts(drafted, accepted)
                for source, drafted, accepted in zip(
                    SOURCES, core.drafted_by, core.accepted_by, strict=True
                )
            },
        )


def _shift_statistics(tokens: Sequence[TokenInfo], panel: AnyPanel) -> dict[str, ShiftStatistics]:
    found = {}
    for name in panel.shifts:
        ratios = [token.shifts[name] for token in tokens if name in token.shifts]
        if ratios:
            twins = [token.twins[name] for token in tokens if name in token.twins]
            found[name] = ShiftStatistics(
                math.fsum(ratios),
                stats.fmean(map(abs, ratios)),
                stats.fmean(twins) if twins else None,
                panel.refined_tokens if twins else None,
            )
    return found


@dataclass(frozen=True, slots=True)
class Completion:
    """A finished response.

    Attributes:
        text: Its text, without the end-of-generation token or the stop string that ended it. With
            ``echo``, the prompt's text comes first.
        tokens: Its token ids, with the end-of-generation token if that ended it. With ``echo``, the
            prompt's ids come first.
        finish_reason: "stop" for an end-of-generation token or stop string, "length" for
            ``max_tokens`` or a full context, "cancelled". Of a grammar's responses only "stop" is
            whole, unless a stop string ended it.
        steps: The generated tokens, one by one.
        statistics: Costs and decisions.
        seed: The seed used.
        substream: Which of the seed's random numbers; of request i of a batch, i. Where the request
            was ``deterministic``, as it is where a seed was given, ``generate`` with both gives the
            same text again, by itself or beside others.
        prompt_tokens: Number of tokens of the target's prompt.
        prompt_scores: With ``echo``, the scores of the prompt after its first token.
    """

    text: str
    tokens: tuple[int, ...]
    finish_reason: FinishReason
    steps: tuple[TokenInfo, ...]
    statistics: Statistics
    seed: int
    substream: int
    prompt_tokens: int
    prompt_scores: Score | None = None

    @property
    def logprobs(self) -> tuple[float, ...]:
        """Log-probabilities of the generated tokens under the law they were sampled from."""
        return tuple(step.logprob for step in self.steps)

    @property
    def usage(self) -> dict[str, object]:
        """OpenAI's ``usage`` object."""
        generated, s = len(self.steps), self.statistics
        return {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": generated,
            "total_tokens": self.prompt_tokens + generated,
            "completion_tokens_details": {
                "accepted_prediction_tokens": s.accepted,
                "rejected_prediction_tokens": s.drafted - s.accepted,
            },
        }


@dataclass(frozen=True, slots=True)
class Chunk:
    """A piece of a response as it grows.

    Attributes:
        id: The request's id.
        text: Text that became final: whole characters, and no part of a possible stop string.
        tokens: The tokens of this step; their texts may be ahead of ``text``.
        completion: The whole response, with the last chunk.
        error: Why the request failed, with the last chunk, in place of a completion.
    """

    id: int
    text: str
    tokens: tuple[TokenInfo, ...]
    completion: Completion | None = None
    error: str | None = None

    @property
    def is_last(self) -> bool:
        """Whether nothing follows."""
        return self.completion is not None or self.error is not None


@dataclass(frozen=True, slots=True, eq=False)
class Score:
    """Log-probabilities of a given continuation; float64 arrays of shape (tokens,).

    Attributes:
        tokens: The continuation's token ids.
        target_logprobs: Of the target's own distribution at temperature 1.
        draft_logprobs: Likewise of the draft's; None without one, and with several shifts.
        reference_logprobs: Likewise of the reference's.
        goal_logprobs: Of pi*, with the strength, temperature and truncation asked for; -inf where
            truncation leaves a token out.
        log_z: log Z_s by position; zeros without a shift.
        shifts: log q − log r of each shift by its name, free of its strength.
        top_logprobs: The most probable tokens of pi* at each position, most probable first, as many
            as asked for.
    """

    tokens: tuple[int, ...]
    target_logprobs: np.ndarray
    draft_logprobs: np.ndarray | None
    reference_logprobs: np.ndarray | None
    goal_logprobs: np.ndarray
    log_z: np.ndarray
    shifts: dict[str, np.ndarray] = field(default_factory=dict)
    top_logprobs: tuple[dict[int, float], ...] = ()

    @property
    def target_logprob(self) -> float:
        """Of the whole continuation under the target."""
        return float(np.sum(self.target_logprobs))

    @property
    def goal_logprob(self) -> float:
        """Of the whole continuation under pi*."""
        return float(np.sum(self.goal_logprobs))

    @property
    def implicit_reward(self) -> float | None:
        """Sum of log q − log r, DPO's reward up to its beta; None unless there is one shift."""
        if len(self.shifts) != 1:
            return None
        return float(np.sum(next(iter(self.shifts.values()))))

    @classmethod
    def from_core(cls, scores: _core.Scores, tokens: Sequence[int], panel: AnyPanel) -> Score:
        """Takes over what the core computed."""
        by_reader = [np.asarray(values, dtype=np.float64) for values in scores.readers]
        return cls(
            tokens=tuple(tokens),
            target_logprobs=by_reader[0],
            draft_logprobs=None if panel.draft is None else by_reader[panel.draft],
            reference_logprobs=None if panel.reference is None else by_reader[panel.reference],
            goal_logprobs=np.asarray(scores.goal, dtype=np.float64),
            log_z=np.asarray(scores.log_z, dtype=np.float64),
            shifts={name: shift.log_ratio(by_reader) for name, shift in panel.shifts.items()},
            top_logprobs=tuple(map(dict, scores.top)),
        )
