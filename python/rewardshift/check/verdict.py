"""What to make of what was measured, in words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .measure import PairReport, StrengthReport

_WIDEST = 4.0
"""Z's 95th percentile over its 5th, up to which the shift counts as mild at each position."""
_MOST_NATS = 0.41
"""Nats a token, log 1.5: text whose perplexity under the target grows by more than half is off."""
_LEAST_ACCURACY, _FEWEST_PAIRS = 0.65, 30
_LEAST_KL = 0.01
_FEWEST = 20
"""Of less, the 5th and the 95th percentile are made up beside the least and the greatest."""
_FAR = 0.05
"""Total variation a position, from which on the paper's rule is another law."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Advice.

    Attributes:
        safe_strength: The highest strength measured up to which nothing spreads; 0 if none, None
            if too little was measured to say.
        sentences: What a user should know, most important first.
    """

    safe_strength: float | None
    sentences: tuple[str, ...]


def verdict(report: PairReport, *, temperature: float) -> Verdict:
    """Judges a report; ``temperature`` is that of its strengths."""
    safe, why = _safe_strength(report)
    return Verdict(
        safe,
        (
            _on_strength(safe, why),
            _on_alignment(report),
            _on_paper(report),
            _on_speed(report, temperature),
        ),
    )


def _safe_strength(report: PairReport) -> tuple[float | None, str | None]:
    """The last strength before the first that is not safe, and why that one is not."""
    safe = None
    for row in sorted(report.strengths, key=lambda row: row.strength):
        if row.positions < _FEWEST:
            return safe, f"at {row.strength:g}, Z is known at {row.positions} positions only"
        if (why := _fault(row, report.target_nats)) is not None:
            return safe or 0.0, f"at {row.strength:g}, {why}"
        safe = row.strength
    return safe, None


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


def _on_strength(safe: float | None, why: str | None) -> str:
    if safe is None:
        return (
            f"Too little was measured to say up to which strength this pair is safe: {why}. "
            f"It takes {_FEWEST}: longer responses, or more prompts."
        )
    if why is None:
        return f"This pair is safe up to strength {safe:g}, the highest that was measured."
    if safe == 0:
        return f"This pair is not safe at any strength that was measured: {why}."
    return f"This pair is safe up to strength {safe:g}; {why}."


def _on_alignment(report: PairReport) -> str:
    if report.kl is None or report.kl_error is None or report.kl_positions < _FEWEST:
        return (
            "How far the draft has moved from its reference is not known: "
            f"it has said {report.kl_positions} tokens, of {_FEWEST} at least."
        )
    if max(_LEAST_KL, abs(report.kl)) < 2 * report.kl_error:
        return (
            "How far the draft has moved from its reference is not known: by "
            f"{report.kl:.2f} ± {report.kl_error:.2f} nats a token."
        )
    if report.kl < _LEAST_KL:
        return (
            f"The draft hardly differs from its reference (KL {max(report.kl, 0):.2g} nats a "
            "token): there is little to shift by."
        )
    moved = f"The draft has moved by {report.kl:.2f} nats a token from its reference"
    if report.accuracy is None:
        return f"{moved}; whether in the right direction, only preference pairs can tell."
    share = f"{report.accuracy:.0%} of {report.pairs} pairs"
    if report.pairs < _FEWEST_PAIRS:
        return f"{moved} and prefers the better response in {share}: too few to judge by."
    if report.accuracy < _LEAST_ACCURACY:
        return f"{moved}, but prefers the better response in only {share}: align it better."
    return f"{moved} and prefers the better response in {share}."


def _on_paper(report: PairReport) -> str:
    row = _near_one(report)
    if row.paper_distance is None or row.positions < _FEWEST:
        return "How far the paper's rule is from pi* is not known: too little was measured."
    distance = f"{row.paper_distance:.3f} in total variation a position from pi*"
    if row.paper_distance > _FAR:
        return f"The paper's rule is {distance}: use rule exact."
    return f"The paper's rule is {distance}, near enough for most uses; rule exact costs the same."


def _on_speed(report: PairReport, temperature: float) -> str:
    row = _near_one(report)
    if row.acceptance is None or row.decisions < _FEWEST:
        return (
            f"What speed to expect is not known: {row.decisions} drafts were accepted or rejected, "
            f"of {_FEWEST} at least."
        )
    k, speed = report.costs.best(row.acceptance)
    plain, undrafted = report.costs.target_speed, report.costs.speed(0, 0.0)
    drafts = f"drafts of {k}" if k else "no drafts: they are rejected or cost too much"
    return (
        f"At temperature {temperature:g} {row.acceptance:.0%} of the drafts are accepted: expect "
        f"{speed:.0f} tokens/s with {drafts}, {speed / plain:.2f} times the target alone and "
        f"{speed / undrafted:.2f} times three models without drafts."
    )


def _near_one(report: PairReport) -> StrengthReport:
    return min(report.strengths, key=lambda row: abs(row.strength - 1))
