"""The columns of the report's tables: what is in them, and what they say."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from .statistics import Interval
    from .summary import Row, Summary


@dataclass(frozen=True, slots=True)
class Column:
    """A column, and what the glossary says of it."""

    head: str
    cell: Callable[[Row], str]
    says: str


def results(summary: Summary, gold_name: str, training_name: str) -> list[Column]:
    """What methods give, and how fast."""
    return [
        Column(
            f"gold reward ({gold_name})",
            lambda row: f"{row.gold:.3f}",
            "mean over all answers of the reward that judges; no method chooses by it.",
        ),
        *_against(summary),
        Column(
            f"training reward ({training_name})",
            lambda row: f"{row.training:.3f}",
            "mean of the reward that methods such as Best-of-N choose by. Where it rises and the "
            "gold reward does not, a method exploits what the training reward gets wrong.",
        ),
        Column(
            "tokens/s",
            lambda row: f"{row.tokens_per_second.value:,.1f}",
            "tokens of all answers by their wall time, rewards that a method asks for included.",
        ),
    ]


def _against(summary: Summary) -> list[Column]:
    """The columns that compare with the baseline; none without one."""
    if summary.baseline is None:
        return []

    def column(
        head: str,
        interval: Callable[[Row], Interval | None],
        text: Callable[[Interval], str],
        says: str,
    ) -> Column:
        def cell(row: Row) -> str:
            found = interval(row)
            if row.method == summary.baseline or found is None:
                return "baseline"
            return text(found)

        return Column(head, cell, says)

    name = summary.row(summary.baseline).name
    return [
        column(
            f"gold − {name}",
            lambda row: row.gain,
            lambda gain: f"{gain:+.3f}",
            "difference of the gold rewards on the same prompts. Where its interval leaves out 0, "
            "the two differ.",
        ),
        column(
            "wins",
            lambda row: row.win_rate,
            lambda rate: rate.shown(lambda share: f"{100 * share:.0f}", " %"),
            f"how often the gold reward is above that of {name} on the same prompt, ties counting "
            "half; 50 % is as good.",
        ),
        column(
            "speed-up",
            lambda row: row.speed_up,
            lambda times: times.shown(lambda x: f"{x:.2f}", " ×"),
            f"tokens a second over those of {name}.",
        ),
    ]


def cost(summary: Summary) -> list[Column]:
    """What an answer takes."""
    return [
        Column(
            "seconds per answer",
            lambda row: f"{row.seconds.value:.2f}",
            "mean wall time; the prompt's evaluation is not in it.",
        ),
        *(
            Column(
                f"{role} evaluations",
                _evaluations(role),
                "texts that a method had scored for an answer, in parentheses likewise."
                if role == "reward"
                else f"batches that the {role} evaluated for an answer and, in parentheses, the "
                "tokens in them.",
            )
            for role in summary.rows[0].calls
        ),
        Column(
            "tokens per target evaluation",
            lambda row: _number(row.tokens_per_evaluation, ".2f"),
            "tokens of the answer by batches of the target: what speculation is about. Plain "
            "decoding has 1.",
        ),
        Column(
            "accepted",
            lambda row: _number(row.acceptance, ".2f"),
            "accepted share of the decisions about drafted tokens; those behind a rejected one "
            "are never decided.",
        ),
    ]


def text(temperature: float) -> list[Column]:
    """What the answers are like."""
    return [
        Column("tokens", lambda row: f"{row.tokens:.0f}", "mean length of an answer."),
        Column(
            "distinct-1",
            lambda row: _number(row.distinct_1, ".3f"),
            "different words by all words, over all answers: falls where a method repeats itself, "
            "and with length.",
        ),
        Column(
            "distinct-2",
            lambda row: _number(row.distinct_2, ".3f"),
            "likewise of pairs of words.",
        ),
        Column(
            "self-BLEU",
            lambda row: _number(row.self_bleu, ".2f"),
            "how alike the answers to one prompt are: 1 is all the same. Needs two seeds.",
        ),
        Column(
            "KL, nats/token",
            _kl,
            "how far a method's law is from the target's at temperature "
            f"{temperature:g}, estimated from the log-probabilities of its answers; the "
            "target's own row shows the floor that rounding leaves. ≤ marks the bound "
            "log N − (N − 1)/N for Best-of-N.",
        ),
        Column(
            "perplexity",
            lambda row: "–" if row.perplexity is None else f"{row.perplexity:.2f}",
            "the target's, of the answers, at temperature 1: rises where a reward is bought with "
            "text that the target finds unlikely.",
        ),
    ]


def _number(value: float | None, form: str) -> str:
    return "–" if value is None or math.isnan(value) else f"{value:{form}}"


def _kl(row: Row) -> str:
    if row.kl is None:
        return "–"
    return f"≤ {row.kl.value:.3f}" if row.kl_is_bound else f"{row.kl:.3f}"


def _count(value: float) -> str:
    """Three digits, or all in front of the point: "12.3", "1,950"."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _evaluations(role: str) -> Callable[[Row], str]:
    def cell(row: Row) -> str:
        calls, inside = row.calls[role], row.evaluated[role]
        return f"{_count(calls)} ({_count(inside)})" if calls or inside else "–"

    return cell
