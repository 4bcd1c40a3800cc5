"""Tokens, statistics and scores on a terminal, in a pipe or in a log."""

from __future__ import annotations

import os
import sys
from collections import Counter
from typing import TYPE_CHECKING

from rich.console import Console, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from .origins import OriginTracker, pieces

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from typing import TextIO

    from rewardshift.results import (
        Chunk,
        Completion,
        Drafts,
        Origin,
        Score,
        Spread,
        Statistics,
        TokenInfo,
    )

    from .origins import Piece

STYLES: dict[Origin, str] = {
    "draft": "green",
    "correction": "bold yellow",
    "bonus": "cyan",
    "forced": "underline",
}
"""Told apart by more than their hues, or by hues that everybody tells apart."""
_NAMES: dict[Origin, str] = {
    "draft": "accepted",
    "correction": "corrected",
    "bonus": "bonus",
    "forced": "forced by the grammar",
}
_LOG_WIDTH = 100
_PREFIXES = ("", "k", "M", "G", "T")


def console_for(stream: TextIO) -> Console:
    """A console that leaves text as it is; a log is wider than an unknown terminal."""
    width = None if stream.isatty() or "COLUMNS" in os.environ else _LOG_WIDTH
    return Console(
        file=stream, width=width, highlight=False, markup=False, emoji=False, soft_wrap=False
    )


def stdout() -> Console:
    """The console on stdout."""
    return console_for(sys.stdout)


def stderr() -> Console:
    """The console on stderr."""
    return console_for(sys.stderr)


# --- tokens -----------------------------------------------------------------------------------


def coloured(parts: Iterable[Piece]) -> Text:
    """Text with each token in the colour of its origin."""
    text = Text()
    for piece, origin in parts:
        text.append(piece, STYLES[origin])
    return text


def coloured_completion(completion: Completion) -> Text:
    """A response in the colours of its origins."""
    return coloured(pieces(completion.text, completion.steps))


def legend(tokens: Sequence[TokenInfo]) -> Text:
    """How many tokens came from where, in the colours that mean it."""
    counts = Counter(token.origin for token in tokens)
    shown = [origin for origin in STYLES if counts[origin]]
    names = (Text(f"{counts[origin]} {_NAMES[origin]}", STYLES[origin]) for origin in shown)
    return Text(", ").join(names)


def plain_writer(console: Console) -> Callable[[Chunk], None]:
    """Writes text as it grows."""

    def write(chunk: Chunk) -> None:
        console.file.write(chunk.text)
        console.file.flush()

    return write


def coloured_writer(console: Console) -> Callable[[Chunk], None]:
    """Writes text as it grows, in the colours of its origins."""
    tracker = OriginTracker()

    def write(chunk: Chunk) -> None:
        console.print(coloured(tracker.feed_chunk(chunk)), end="", soft_wrap=True)
        console.file.flush()

    return write


# --- statistics -------------------------------------------------------------------------------


def summary(completion: Completion, console: Console) -> RenderableType:
    """The statistics of a response, in a box on a terminal."""
    table = statistics_table(completion)
    if not console.is_terminal:
        return table
    return Panel(table, title="statistics", title_align="left", expand=False, border_style="dim")


def statistics_table(completion: Completion) -> Table:
    """Names and values, two columns."""
    rows = [
        *_decisions(completion),
        *_costs(completion.statistics),
        *_laws(completion.statistics),
        ("finish", f"{completion.finish_reason}, seed {completion.seed}"),
    ]
    return facts_table(rows)


def _decisions(completion: Completion) -> Iterable[tuple[str, str | Text]]:
    s = completion.statistics
    per_round = "" if s.tokens_per_round is None else f", {s.tokens_per_round:.2f} a round"
    yield "tokens", f"{s.tokens} in {_count(s.rounds, 'round')}{per_round}"
    if s.acceptance is not None or any(step.origin == "forced" for step in completion.steps):
        yield "origins", legend(completion.steps)
    if s.acceptance is None:
        return
    yield "acceptance", f"{s.acceptance:.0%}, {s.accepted} of {s.drafted} drafted"
    sources = {name: drafts for name, drafts in s.sources.items() if drafts.drafted}
    if len(sources) > 1 or not sources.keys() <= {"plain"}:
        yield "drafts from", _sources(sources)
    yield "by position", "  ".join(f"{share:.0%}" for share in s.acceptance_by_position)


_SOURCES = {
    "plain": "the draft",
    "shifted": "a shifted base",
    "table": "the table",
    "quote": "what was said before",
}


def _sources(sources: Mapping[str, Drafts]) -> str:
    """Where drafts were from, and how many of them were accepted."""
    return ", ".join(
        f"{_SOURCES[name]} {drafts.accepted} of {drafts.drafted}"
        for name, drafts in sources.items()
    )


def _costs(s: Statistics) -> Iterable[tuple[str, str]]:
    if s.tokens_per_second is not None:
        yield "speed", f"{s.tokens_per_second:.1f} tokens/s"
    yield "time", _seconds(s)


def _laws(s: Statistics) -> Iterable[tuple[str, str]]:
    if s.z is not None:
        yield "Z", _spread(s.z)
    if s.paper_distance is not None:
        yield "paper's law", f"{_spread(s.paper_distance)} from pi*"
    several = s.implicit_reward is None
    for name, shift in s.shifts.items():
        per_token = f", {shift.implicit_reward / s.tokens:+.3f} a token" if s.tokens else ""
        label = f"reward of {name}" if several else "implicit reward"
        yield label, f"{shift.implicit_reward:+.2f}{per_token}"


def _seconds(s: Statistics) -> str:
    total = s.seconds.total
    shares = {**s.seconds.readers, "own code": s.seconds.own}
    if total <= 0:
        return f"{total:.2f} s"
    parts = [f"{name} {value / total:.1%}" for name, value in shares.items() if value > 0]
    return f"{total:.2f} s: {', '.join(parts)}"


def _spread(spread: Spread) -> str:
    return f"mean {spread.mean:.3f}, median {spread.median:.3f}, p90 {spread.p90:.3f}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


# --- scores -----------------------------------------------------------------------------------


def score_table(score: Score, texts: list[str]) -> Table:
    """Log-probabilities by token, with the sums in the last row."""
    columns = {
        "target": score.target_logprobs,
        "draft": score.draft_logprobs,
        "reference": score.reference_logprobs,
        "goal": score.goal_logprobs,
    }
    for name, ratio in score.shifts.items():
        columns["reward" if len(score.shifts) == 1 else name] = ratio
    known = {name: values for name, values in columns.items() if values is not None}
    table = Table(box=None, pad_edge=False, header_style="bold", show_footer=True)
    table.add_column("token", "sum", overflow="fold")
    for name, values in known.items():
        table.add_column(name, f"{float(values.sum()):.3f}", justify="right", no_wrap=True)
    for i, text in enumerate(texts):
        table.add_row(repr(text), *(f"{float(values[i]):.3f}" for values in known.values()))
    return table


# --- facts ------------------------------------------------------------------------------------


def facts_table(rows: Iterable[tuple[str, str | Text]]) -> Table:
    """Names and values, two columns; long values wrap."""
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in rows:
        table.add_row(name, value)
    return table


def amount(number: float, unit: str = "") -> str:
    """A number of three digits with its SI prefix: 135 M, 96.6 MB."""
    power = 0
    while abs(number) >= 999.5 and power < len(_PREFIXES) - 1:  # would show as 1e+03
        number, power = number / 1000, power + 1
    return f"{number:.3g} {_PREFIXES[power]}{unit}".strip()
