"""What is measured of a target, a draft and a reference."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from rewardshift.decoder import Decoder
from rewardshift.progress import bars, is_shown
from rewardshift.results import target_logprobs_of
from rewardshift.shifts import CLASSIC

from .pair import pair_of, with_target
from .speed import Costs, measure_role_costs

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rewardshift.prompt_files import Preference
    from rewardshift.results import Completion

_AT_ONCE = 4
"""Requests decoded together: enough to be quick, few enough for any machine."""


@dataclass(frozen=True, slots=True)
class CheckOptions:
    """How much is measured.

    Attributes:
        temperatures: At which acceptance is measured, strength 1.
        strengths: At which Z and the paper's law are measured.
        temperature: Of that.
        draft_tokens: Drafted in each round.
        max_tokens: Of each response.
        seed: Of everything.

    Raises:
        ValueError: If nothing could be measured so.
    """

    temperatures: tuple[float, ...] = (0.5, 0.8, 1.0)
    strengths: tuple[float, ...] = (0.5, 1.0, 1.5, 2.0, 3.0)
    temperature: float = 0.8
    draft_tokens: int = 4
    max_tokens: int = 64
    seed: int = 1

    def __post_init__(self) -> None:
        """Refuses what leaves nothing to measure."""
        if self.max_tokens < 2:
            raise ValueError(
                f"max_tokens must be at least 2, not {self.max_tokens}: the last token of a "
                "response is never a draft"
            )
        if self.draft_tokens < 1:
            raise ValueError(f"draft_tokens must be at least 1, not {self.draft_tokens}")
        for name in ("temperatures", "strengths"):
            if not getattr(self, name):
                raise ValueError(f"there are no {name} to measure at")
        for s in self.strengths:
            if not (math.isfinite(s) and s > 0):
                raise ValueError(f"strengths must be finite and above 0, not {s:g}")
        for t in (*self.temperatures, self.temperature):
            if not (math.isfinite(t) and t >= 0):
                raise ValueError(f"temperature must be finite and at least 0, not {t:g}")


@dataclass(frozen=True, slots=True)
class TemperatureReport:
    """Acceptance at a temperature.

    Attributes:
        temperature: Of the goal and the draft.
        acceptance: Accepted share of the decisions; None without any.
        by_position: Likewise at each position of a draft, counted from those that got there.
        decisions: How many there were.
    """

    temperature: float
    acceptance: float | None
    by_position: tuple[float | None, ...]
    decisions: int


@dataclass(frozen=True, slots=True)
class StrengthReport:
    """What a strength does.

    Attributes:
        strength: The exponent s.
        z: 5th, 25th, 50th, 75th and 95th percentile of Z_s over the positions; None without any.
        paper_distance: Mean total variation between the paper's law and pi*, a position; None where
            nothing was drafted.
        acceptance: Accepted share of the decisions; None without any.
        decisions: How many there were.
        target_nats: Mean −log p of a token under the target: high where the text leaves what the
            target would say. None where no response has a token.
        positions: How many there were.
        twins: The target's mass on tokens that the pair's vocabulary has as well, mean over them;
            None where that is the target's own.
    """

    strength: float
    z: tuple[float, float, float, float, float] | None
    paper_distance: float | None
    acceptance: float | None
    decisions: int
    target_nats: float | None
    positions: int
    twins: float | None = None


@dataclass(frozen=True, slots=True)
class PairReport:
    """All that was measured.

    Attributes:
        temperatures: Acceptance by temperature.
        strengths: Z, the paper's law and acceptance by strength.
        target_nats: Mean −log p of a token of the target's own text; None where it is empty.
        kl: KL(q || r), mean over the positions of the draft's own text; nats a token. Of a head,
            KL(pi* || p) over the text at strength 1. None where that is empty.
        kl_error: Its standard error; None of less than two positions.
        kl_positions: How many there were.
        accuracy: Share of preference pairs whose better response has more implicit reward; None if
            there were none.
        pairs: How many there were.
        costs: What the models cost on this machine, in seconds; None of a head, which has no model
            of its own.
        shift: The name of the shift that was checked; "draft" of a pair that has none.
        twins: The target's mass on tokens that the pair's vocabulary has as well, mean over the
            positions at the strength nearest to 1; None where that is the target's own.
    """

    temperatures: tuple[TemperatureReport, ...]
    strengths: tuple[StrengthReport, ...]
    target_nats: float | None
    kl: float | None
    kl_error: float | None
    kl_positions: int
    accuracy: float | None
    pairs: int
    costs: Costs | None
    shift: str = CLASSIC
    twins: float | None = None


def check_pair(
    roles: Mapping[str, Any],
    prompts: Sequence[str],
    options: CheckOptions,
    *,
    preferences: Sequence[Preference] = (),
    draft_system: str | None = None,
    progress: bool | None = None,
) -> PairReport:
    """Measures a target and a shift by decoding with them.

    Drafts are the pair's own, and verified one after another: the accepted share is then what the
    pair alone decides, 1 minus the total variation between pi* and the draft's law. Block
    verification, the default elsewhere, accepts as many or more.

    Args:
        roles: Arguments of ``Decoder``: target, draft, reference and so on, or one shift.
        prompts: What users ask; each is answered at every temperature and strength.
        options: How much is measured.
        preferences: Pairs that took no part in the alignment.
        draft_system: The system message that only the draft sees, if it shifts by prompt.
        progress: Whether to show progress; None shows it on a terminal.

    Raises:
        ValueError: If there is no reference, more than one shift, or no prompt.
    """
    if not prompts:
        raise ValueError("there are no prompts to check with")
    name, pair = pair_of(roles)
    is_head = pair.head is not None
    with bars(shown=is_shown(progress), with_time_left=True) as display:
        jobs = len(options.temperatures) + len(options.strengths) + 2 + bool(preferences)
        task = display.add_task("checking the pair", total=jobs)
        with Decoder(**roles) as decoder:
            asker = _Asker(decoder, prompts, options, draft_system)
            temperatures, strengths = [], []
            for t in options.temperatures:
                if not is_head:  # which drafts nothing
                    temperatures.append(_at_temperature(asker, t))
                display.advance(task)
            for s in options.strengths:
                strengths.append(_at_strength(asker, s, 0 if is_head else options.draft_tokens))
                display.advance(task)
            own = asker.answers(options.temperature, strength=0.0, num_draft_tokens=0)
            display.advance(task)
            accuracy = _accuracy(asker, preferences) if preferences else None
            display.advance(task, bool(preferences))
        reference = pair.draft if pair.reference is None else pair.reference
        apart = with_target(roles, name, pair, roles["target"] if is_head else reference)
        moved = _rewards_of_the_draft(apart, prompts, options, draft_system)
        display.advance(task)
    return PairReport(
        temperatures=tuple(temperatures),
        strengths=tuple(strengths),
        target_nats=_target_nats(own),
        kl=_mean(moved),
        kl_error=float(np.std(moved, ddof=1) / len(moved) ** 0.5) if len(moved) > 1 else None,
        kl_positions=len(moved),
        accuracy=accuracy,
        pairs=len(preferences),
        costs=None if is_head else measure_role_costs(roles, pair, most_rows=9),
        shift=name,
        twins=min(strengths, key=lambda row: abs(row.strength - 1)).twins,
    )


class _Asker:
    """Asks the prompts."""

    def __init__(
        self,
        decoder: Decoder,
        prompts: Sequence[str],
        options: CheckOptions,
        draft_system: str | None,
    ) -> None:
        self.decoder = decoder
        self.options = options
        self.draft_system = draft_system
        self.prompts = [self.prompt(text) for text in prompts]

    def prompt(self, text: str) -> tuple[list[int], list[int] | None]:
        """What target and reference see, and what the draft sees if that differs."""
        return self.decoder.chat_prompts(
            [{"role": "user", "content": text}], draft_system=self.draft_system
        )

    def answers(
        self,
        temperature: float,
        *,
        strength: float,
        num_draft_tokens: int,
        paper_distance: bool = False,
    ) -> list[Completion]:
        found = []
        for start in range(0, len(self.prompts), _AT_ONCE):
            asked = self.prompts[start : start + _AT_ONCE]
            shifted = strength > 0 and any(draft is not None for _, draft in asked)
            found += self.decoder.generate_batch(
                [target for target, _ in asked],
                draft_prompts=[draft or target for target, draft in asked] if shifted else None,
                temperature=temperature,
                strength=strength,
                num_draft_tokens=num_draft_tokens,
                verification="token",
                paper_distance=paper_distance,
                max_tokens=self.options.max_tokens,
                seed=self.options.seed + start,
                deterministic=False,  # many at once
            )
        return found


def _at_temperature(asker: _Asker, temperature: float) -> TemperatureReport:
    k = asker.options.draft_tokens
    found = asker.answers(temperature, strength=1.0, num_draft_tokens=k)
    accepted, decided = _decisions(found, k)
    return TemperatureReport(
        temperature=temperature,
        acceptance=_share(accepted.sum(), decided.sum()),
        by_position=tuple(_share(a, d) for a, d in zip(accepted, decided, strict=True)),
        decisions=int(decided.sum()),
    )


def _at_strength(asker: _Asker, strength: float, k: int) -> StrengthReport:
    found = asker.answers(
        asker.options.temperature, strength=strength, num_draft_tokens=k, paper_distance=True
    )
    accepted, decided = _decisions(found, k)
    steps = [step for completion in found for step in completion.steps]
    z = np.exp([step.log_z for step in steps if step.log_z is not None])
    return StrengthReport(
        strength=strength,
        z=_percentiles(z) if len(z) else None,
        paper_distance=_mean([step.paper_distance for step in steps]),
        acceptance=_share(accepted.sum(), decided.sum()),
        decisions=int(decided.sum()),
        target_nats=_target_nats(found),
        positions=len(z),
        twins=_mean([twins for step in steps for twins in step.twins.values()]),
    )


def _percentiles(values: np.ndarray[Any, Any]) -> tuple[float, float, float, float, float]:
    low, lower, middle, upper, high = (float(x) for x in np.percentile(values, (5, 25, 50, 75, 95)))
    return low, lower, middle, upper, high


def _decisions(
    completions: Sequence[Completion], k: int
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Accepted and decided, by position of the draft, [k] each.

    Tokens after a rejection were never decided on; each was drafted, and none of them counts.
    """
    accepted, decided = np.zeros(k), np.zeros(k)
    for completion in completions:
        position = 0
        for step in completion.steps:
            if step.origin == "draft":
                accepted[position] += 1
                decided[position] += 1
                position += 1
                continue
            if step.origin == "correction":
                decided[position] += 1
            position = 0
    return accepted, decided


def _accuracy(asker: _Asker, preferences: Sequence[Preference]) -> float:
    wins = 0
    for pair in preferences:
        target, draft = asker.prompt(pair.prompt)
        better, worse = (
            asker.decoder.score(
                target,
                asker.decoder.tokenize(text, add_special=False, parse_special=False),
                draft_prompt=draft,
            ).implicit_reward
            or 0.0
            for text in (pair.chosen, pair.rejected)
        )
        wins += better > worse
    return wins / len(preferences)


def _rewards_of_the_draft(
    apart: Mapping[str, Any],
    prompts: Sequence[str],
    options: CheckOptions,
    draft_system: str | None,
) -> list[float]:
    """The log q/r of tokens sampled from q: with the reference as the target, pi* is r · q/r.

    A head's reference is the target.
    """
    with Decoder(**apart) as decoder:
        asker = _Asker(decoder, prompts, options, draft_system)
        found = asker.answers(1.0, strength=1.0, num_draft_tokens=0)
    rewards = [step.implicit_reward for c in found for step in c.steps]
    return [reward for reward in rewards if reward is not None and math.isfinite(reward)]


def _target_nats(completions: Sequence[Completion]) -> float | None:
    return _mean([-x for c in completions for x in target_logprobs_of(c.steps)])


def _mean(values: Sequence[float | None]) -> float | None:
    """The mean of those that there are; None of none."""
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def _share(part: float, whole: float) -> float | None:
    return float(part / whole) if whole else None
