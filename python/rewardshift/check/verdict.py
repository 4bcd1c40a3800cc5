"""What to make of what was measured, in words.

"Mild" is said of the shift, by two lines that we drew: Z's 95th percentile is at most four times
its 5th, and the text has at most 1.5 times the perplexity of the target's own. Neither is a limit
of rule ``exact``, which divides by Z at every position and so gives pi* at any strength: a Z that
spreads misleads rule ``paper``, which takes it for 1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rewardshift.loading.vocabularies import LEAST_SHARE
from rewardshift.shifts import CLASSIC

if TYPE_CHECKING:
    from .measure import PairReport, StrengthReport
    from .speed import Costs

_WIDEST = 4.0
"""Z's 95th percentile over its 5th, up to which the shift counts as mild at each position."""
_MOST_NATS = 0.41
"""Nats a token, log 1.5: text whose perplexity under the target grows by more than half is off."""
_LEAST_ACCURACY, _FEWEST_PAIRS = 0.65, 30
_LEAST_KL = 0.01
_FEWEST = 20
"""Of less, the 5th and the 95th percentile are made up beside the least and the greatest."""
_COST_OF_A_HEAD = (
    "A head needs no second model: aligned decoding takes as long as plain, and a little for the "
    "head."
)
_FAR = 0.05
"""Total variation a position, from which on the paper's rule is another law."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Advice.

    Attributes:
        mild_strength: The highest strength measured up to which Z does not spread and the target
            does not find the text unlikely; 0 if none, None if too little was measured to say.
            Rule ``exact`` gives pi* beyond it, too.
        sentences: What a user should know, most important first.
    """

    mild_strength: float | None
    sentences: tuple[str, ...]


def verdict(report: PairReport, *, temperature: float) -> Verdict:
    """Judges a report; ``temperature`` is that of its strengths."""
    mild, why = _mild_strength(report)
    return Verdict(
        mild,
        (
            _on_strength(report, mild, why),
            _on_text(report),
            *_on_vocabulary(report),
            _on_alignment(report),
            *_on_cost(report, temperature),
        ),
    )


def _mild_strength(report: PairReport) -> tuple[float | None, str | None]:
    """The last strength before the first that is not mild, and why that one is not."""
    mild = None
    for row in sorted(report.strengths, key=lambda row: row.strength):
        if row.positions < _FEWEST:
            return mild, f"at {row.strength:g}, Z is known at {row.positions} positions only"
        if (why := _fault(row, report.target_nats)) is not None:
            return mild or 0.0, f"at {row.strength:g}, {why}"
        mild = row.strength
    return mild, None


def _fault(row: StrengthReport, plain_nats: float | None) -> str | None:
    if row.z is not None and row.z[-1] > _WIDEST * row.z[0]:
        return f"Z spreads: its middle 90 % go from {row.z[0]:.2g} to {row.z[-1]:.2g}"
    if row.target_nats is None or plain_nats is None:
        return None  # a target that says nothing has no perplexity to lose
    if row.target_nats - plain_nats > _MOST_NATS:
        return (
            "the target finds the text unlikely: "
            f"{row.target_nats:.2f} nats a token, {plain_nats:.2f} without a shift"
        )
    return None


def _on_strength(report: PairReport, mild: float | None, why: str | None) -> str:
    shift = "the shift" if report.shift == CLASSIC else f"the shift {report.shift!r}"
    if mild is None:
        return (
            f"Too little was measured to say up to which strength {shift} is mild: {why}. "
            f"It takes {_FEWEST}: longer responses, or more prompts."
        )
    said = f"T{shift[1:]} is"
    if why is None:
        return f"{said} mild up to strength {mild:g}, the highest that was measured."
    if mild == 0:
        return f"{said} not mild at any strength that was measured: {why}."
    return f"{said} mild up to strength {mild:g}; {why}."


def _on_text(report: PairReport) -> str:
    row = _nearest_to_one(report)
    if row.target_nats is None or report.target_nats is None:
        return "How likely the target finds the text is not known: there is none."
    ratio = math.exp(row.target_nats - report.target_nats)
    return (
        f"At strength {row.strength:g} the text has {ratio:.2f} times the perplexity of the "
        "target's own."
    )


def _on_alignment(report: PairReport) -> str:
    who, whom = ("draft", "its reference") if report.costs else ("head", "the target")
    if report.kl is None or report.kl_error is None or report.kl_positions < _FEWEST:
        return (
            f"How far the {who} has moved from {whom} is not known: "
            f"it has said {report.kl_positions} tokens, of {_FEWEST} at least."
        )
    if max(_LEAST_KL, abs(report.kl)) < 2 * report.kl_error:
        return (
            f"How far the {who} has moved from {whom} is not known: by "
            f"{report.kl:.2f} ± {report.kl_error:.2f} nats a token."
        )
    if report.kl < _LEAST_KL:
        return (
            f"The {who} hardly differs from {whom} (KL {max(report.kl, 0):.2g} nats a "
            "token): there is little to shift by."
        )
    moved = f"The {who} has moved by {report.kl:.2f} nats a token from {whom}"
    if report.accuracy is None:
        return f"{moved}; whether in the right direction, only preference pairs can tell."
    share = f"{report.accuracy:.0%} of {report.pairs} pairs"
    if report.pairs < _FEWEST_PAIRS:
        return f"{moved} and prefers the better response in {share}: too few to judge by."
    if report.accuracy < _LEAST_ACCURACY:
        return f"{moved}, but prefers the better response in only {share}: align it better."
    return f"{moved} and prefers the better response in {share}."


def _on_vocabulary(report: PairReport) -> tuple[str, ...]:
    if report.twins is None:
        return ()
    said = f"{report.twins:.0%} of what the target says are tokens that the pair's vocabulary has"
    if report.twins < LEAST_SHARE:
        return (f"Only {said}: take a pair whose vocabulary is nearer to the target's.",)
    return (f"{said}; others are weighed by their pieces in it.",)


def _on_cost(report: PairReport, temperature: float) -> tuple[str, ...]:
    if report.costs is None:
        return (_COST_OF_A_HEAD,)
    return _on_paper(report), _on_speed(report, report.costs, temperature)


def _on_paper(report: PairReport) -> str:
    row = _nearest_to_one(report)
    if report.twins is not None:
        return "Rule paper is not defined for a pair of another vocabulary: use exact, the default."
    if row.paper_distance is None or row.positions < _FEWEST:
        return "How far the paper's rule is from pi* is not known: too little was measured."
    distance = (
        f"At strength {row.strength:g} the paper's rule is {row.paper_distance:.3f} in total "
        "variation a position from pi*"
    )
    if row.paper_distance > _FAR:
        return f"{distance}: use rule exact, the default, which gives pi* at any strength."
    return f"{distance}, near enough for most uses; rule exact, the default, costs the same."


def _on_speed(report: PairReport, costs: Costs, temperature: float) -> str:
    row = _nearest_to_one(report)
    if row.acceptance is None or row.decisions < _FEWEST:
        return (
            f"What speed to expect is not known: {row.decisions} drafts were accepted or rejected, "
            f"of {_FEWEST} at least."
        )
    k, speed = costs.best(row.acceptance)
    plain, undrafted = costs.target_speed, costs.speed(0, 0.0)
    drafts = f"drafts of {k}" if k else "no drafts: they are rejected or cost too much"
    return (
        f"At temperature {temperature:g} {row.acceptance:.0%} of the drafts are accepted: expect "
        f"{speed:.0f} tokens/s with {drafts}, {speed / plain:.2f} times the target alone and "
        f"{speed / undrafted:.2f} times three models without drafts."
    )


def _nearest_to_one(report: PairReport) -> StrengthReport:
    """What was measured at strength 1, the default, or the nearest to it."""
    return min(report.strengths, key=lambda row: abs(row.strength - 1))
