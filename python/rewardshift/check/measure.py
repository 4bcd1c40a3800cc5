"""What is measured of a target, a draft and a reference."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from rewardshift.decoder import Decoder
from rewardshift.progress import bars, is_shown

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
    """

    temperatures: tuple[float, ...] = (0.5, 0.8, 1.0)
    strengths: tuple[float, ...] = (0.5, 1.0, 1.5, 2.0, 3.0)
    temperature: float = 0.8
    draft_tokens: int = 4
    max_tokens: int = 64
    seed: int = 1


@dataclass(frozen=True, slots=True)
class TemperatureReport:
    """Acceptance at a temperature.

    Attributes:
        temperature: Of the goal and the draft.
        acceptance: Accepted share of the decisions.
        by_position: Likewise at each position of a draft, counted from those that got there.
        decisions: How many there were.
    """

    temperature: float
    acceptance: float
    by_position: tuple[float, ...]
    decisions: int


@dataclass(frozen=True, slots=True)
class StrengthReport:
    """What a strength does.

    Attributes:
        strength: The exponent s.
        z: 5th, 25th, 50th, 75th and 95th percentile of Z_s over the positions.
        paper_distance: Mean total variation between the paper's law and pi*, a position.
        acceptance: Accepted share of the decisions.
        target_nats: Mean −log p of a token under the target: high where the text leaves what the
            target would say.
    """

    strength: float
    z: tuple[float, float, float, float, float]
    paper_distance: float
    acceptance: float
    target_nats: float


@dataclass(frozen=True, slots=True)
class PairReport:
    """All that was measured.

    Attributes:
        temperatures: Acceptance by temperature.
        strengths: Z, the paper's law and acceptance by strength.
        target_nats: Mean −log p of a token of the target's own text.
        kl: KL(q || r), mean over the positions of the draft's own text; nats a token.
        accuracy: Share of preference pairs whose better response has more implicit reward; None if
            there were none.
        pairs: How many there were.
        costs: What the models cost on this machine, in seconds.
    """

    temperatures: tuple[TemperatureReport, ...]
    strengths: tuple[StrengthReport, ...]
    target_nats: float
    kl: float
    accuracy: float | None
    pairs: int
    costs: Costs


def check_pair(
    roles: Mapping[str, Any],
    prompts: Sequence[str],
    options: CheckOptions,
    *,
    preferences: Sequence[Preference] = (),
    draft_system: str | None = None,
    progress: bool | None = None,
) -> PairReport:
    """Measures a triple by decoding with it.

    Args:
        roles: Arguments of ``Decoder``: target, draft, reference and so on.
        prompts: What users ask; each is answered at every temperature and strength.
        options: How much is measured.
        preferences: Pairs that took no part in the alignment.
        draft_system: The system message that only the draft sees, if it shifts by prompt.
        progress: Whether to show progress; None shows it on a terminal.

    Raises:
        ValueError: If there is no reference, or no prompt.
    """
    if not prompts:
        raise ValueError("there are no prompts to check with")
    if roles.get("reference") is None and roles.get("draft_lora") is None:
        raise ValueError("a pair is a draft and its reference; there is no reference")
    with bars(shown=is_shown(progress), with_time_left=True) as display:
        jobs = len(options.temperatures) + len(options.strengths) + 2 + bool(preferences)
        task = display.add_task("checking the pair", total=jobs)
        with Decoder(**roles) as decoder:
            asker = _Asker(decoder, prompts, options, draft_system)
            temperatures, strengths = [], []
            for t in options.temperatures:
                temperatures.append(_at_temperature(asker, t))
                display.advance(task)
            for s in options.strengths:
                strengths.append(_at_strength(asker, s))
                display.advance(task)
            own = asker.answers(options.temperature, strength=0.0, num_draft_tokens=0)
            display.advance(task)
            accuracy = _accuracy(asker, preferences) if preferences else None
            display.advance(task, bool(preferences))
        kl = _kl_to_reference(roles, prompts, options, draft_system)
        display.advance(task)
    return PairReport(
        temperatures=tuple(temperatures),
        strengths=tuple(strengths),
        target_nats=_target_nats(own),
        kl=kl,
        accuracy=accuracy,
        pairs=len(preferences),
        costs=measure_role_costs(roles, most_rows=9),
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
        self, temperature: float, *, strength: float, num_draft_tokens: int
    ) -> list[Completion]:
        found = []
        for start in range(0, len(self.prompts), _AT_ONCE):
            asked = self.prompts[start : start + _AT_ONCE]
            shifted = self.draft_system is not None and strength > 0
            found += self.decoder.generate_batch(
                [target for target, _ in asked],
                draft_prompts=[draft or target for target, draft in asked] if shifted else None,
                temperature=temperature,
                strength=strength,
                num_draft_tokens=num_draft_tokens,
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


def _at_strength(asker: _Asker, strength: float) -> StrengthReport:
    k = asker.options.draft_tokens
    found = asker.answers(asker.options.temperature, strength=strength, num_draft_tokens=k)
    accepted, decided = _decisions(found, k)
    steps = [step for completion in found for step in completion.steps]
    z = np.exp([step.log_z for step in steps if step.log_z is not None])
    low, lower, middle, upper, high = (float(x) for x in np.percentile(z, (5, 25, 50, 75, 95)))
    distances = [step.paper_distance for step in steps if step.paper_distance is not None]
    return StrengthReport(
        strength=strength,
        z=(low, lower, middle, upper, high),
        paper_distance=float(np.mean(distances)) if distances else math.nan,
        acceptance=_share(accepted.sum(), decided.sum()),
        target_nats=_target_nats(found),
    )


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


def _kl_to_reference(
    roles: Mapping[str, Any],
    prompts: Sequence[str],
    options: CheckOptions,
    draft_system: str | None,
) -> float:
    """Samples from q: with the reference as the target too, pi* is r · q/r."""
    reference = roles.get("reference") or roles.get("draft")
    with Decoder(**{**roles, "target": reference}) as decoder:
        asker = _Asker(decoder, prompts, options, draft_system)
        found = asker.answers(1.0, strength=1.0, num_draft_tokens=0)
    rewards = [step.implicit_reward for c in found for step in c.steps]
    return float(np.mean([r for r in rewards if r is not None]))


def _target_nats(completions: Sequence[Completion]) -> float:
    return -float(np.mean([step.target_logprob for c in completions for step in c.steps]))


def _share(part: float, whole: float) -> float:
    return float(part / whole) if whole else math.nan
