"""What ``rewardshift demo`` prints."""

from __future__ import annotations

import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.panel import Panel
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from rewardshift.dials.catalogue import dial_named
from rewardshift.dials.references import reference_of

from .demo_runs import SEED, TEMPERATURE, speed
from .origins import pieces
from .render import STYLES, amount, coloured, facts_table, legend

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from rewardshift.results import Statistics

    from .demo_runs import Exchange, Run
    from .demo_target import Target

BEST_OF = 8
"""What the cost is compared with."""
_NOT_SCORED = "pip install 'rewardshift[demo]' for how positive the words are, by VADER"


@dataclass(frozen=True, slots=True)
class Page:
    """Everything, from the heading to what to type next.

    Attributes:
        target: What the dials are shown on.
        exchanges: What is asked, and answered by and by.
        drafts: Whether the dials draft: where they speak the target's vocabulary.
    """

    target: Target
    exchanges: Sequence[Exchange]
    drafts: bool

    def parts(self) -> Iterator[RenderableType]:
        """All of it, answers beside each other."""
        yield self.heading()
        for exchange in self.exchanges:
            yield self.answers(exchange, columns=True)
        yield from self.closing()

    def as_object(self) -> dict[str, object]:
        """For JSON."""
        return {
            "target": str(self.target.path),
            "exchanges": [exchange.as_object() for exchange in self.exchanges],
        }

    # --- before ---------------------------------------------------------------------------------

    def heading(self) -> RenderableType:
        """What the demo does."""
        return Group(
            Text.assemble(("rewardshift", "bold"), " aligns a model while it decodes"),
            Text("pi* ∝ p · (q/r)^s: what a dial makes a small model say more often, p says, too"),
            facts_table(self._facts()),
            Text(),
        )

    def _facts(self) -> Iterator[tuple[str, str | Text]]:
        strengths = {exchange.dial: exchange.strength for exchange in self.exchanges}
        dials = [dial_named(name) for name in strengths]
        yield "target p", f"{self.target.name}, {_size(self.target.path)}, which is not changed"
        tongue = "the target's vocabulary" if self.drafts else "a vocabulary of its own"
        yield "reference r", f"a small model, {_size(reference_of(dials[0]))}, of {tongue}"
        for dial in dials:
            does = f"{dial.name} {strengths[dial.name]:g}: {dial.does}"
            yield "draft q, s", f"the same with a dial, {_size(dial.adapter)}; {does}"
        yield "temperature", f"{TEMPERATURE:g}; seed {SEED}"
        if any(e.dial == "positive" and e.measure is None for e in self.exchanges):
            yield "scores", Text(_NOT_SCORED)  # whose brackets are no markup
        if self.drafts:
            yield (
                "each token",
                Text.assemble(
                    *(("an accepted draft", STYLES["draft"]), ", "),
                    *(("the target's correction", STYLES["correction"]), " of one, or "),
                    ("a bonus after accepted ones", STYLES["bonus"]),
                ),
            )

    # --- answers --------------------------------------------------------------------------------

    def answers(self, exchange: Exchange, *, columns: bool) -> RenderableType:
        """Both answers to a prompt, beside or below each other."""
        plain_title = _title("target alone", exchange, exchange.plain)
        aligned_title = _title(f"{exchange.dial} {exchange.strength:g}", exchange, exchange.aligned)
        plain_text = Text(exchange.plain.text)
        aligned_text = self._aligned(exchange.aligned)
        for text, run in ((plain_text, exchange.plain), (aligned_text, exchange.aligned)):
            if run.is_cut:
                text.rstrip()
                text.append(" …", "dim")
        notes = [legend(exchange.aligned.tokens)] if self.drafts else []
        if not columns:
            return Group(
                Text(f"> {exchange.prompt}", "bold"),
                plain_title,
                Padding(plain_text, (0, 0, 0, 4)),
                aligned_title,
                Padding(aligned_text, (0, 0, 0, 4)),
                *(Padding(Text.assemble("(", note, ")"), (0, 0, 0, 4)) for note in notes),
                Text(),
            )
        table = Table.grid(expand=True, padding=(0, 2), pad_edge=False)
        table.add_column(ratio=1)
        table.add_column(ratio=1)
        table.add_row(plain_title, aligned_title)
        table.add_row(plain_text, aligned_text)
        for note in notes:
            table.add_row(Text(), Group(Text(), note))
        return Panel(
            table,
            title=Text(exchange.prompt, "not dim bold"),
            title_align="left",
            border_style="dim",
        )

    def _aligned(self, run: Run) -> Text:
        return coloured(pieces(run.text, run.tokens)) if self.drafts else Text(run.text)

    # --- after ----------------------------------------------------------------------------------

    def closing(self) -> Iterator[RenderableType]:
        """What follows the answers."""
        yield from _section("aligned decoding", facts_table(self._statistics()))
        yield from _section("speed on this machine", self._speeds())
        yield from _section("the same on a model of yours", self._on_your_own())

    def _statistics(self) -> Iterator[tuple[str, str]]:
        """What the decisions and the time came to, over all prompts."""
        for dial in dict.fromkeys(e.dial for e in self.exchanges):
            asked = [e for e in self.exchanges if e.dial == dial]
            if (measure := asked[0].measure) is not None:
                alone, aligned = _mean([e.plain for e in asked]), _mean([e.aligned for e in asked])
                told = f"{measure.written(alone)} alone, {measure.written(aligned)} aligned"
                yield f"mean, {dial}", told
        done = [s for e in self.exchanges if (s := e.aligned.statistics) is not None]
        if self.drafts:
            yield from _of_drafts(done)
        twins = [t for s in done for shift in s.shifts.values() if (t := shift.twins) is not None]
        if twins:
            share = sum(twins) / len(twins)
            yield "vocabularies", f"the dials know {share:.0%} of what the target might say"
        seconds, own = sum(s.seconds.total for s in done), sum(s.seconds.own for s in done)
        yield "our own code", f"{own / seconds:.1%} of the time"

    def _speeds(self) -> RenderableType:
        """Tokens a second in each way, and what to make of it."""
        ways = {"target alone": [e.plain for e in self.exchanges]}
        ways["aligned, no drafts"] = [e.undrafted for e in self.exchanges]
        if self.drafts:
            ways["aligned, drafts of 3"] = [e.aligned for e in self.exchanges]
        ways["aligned, drafts where they pay"] = free = [e.free for e in self.exchanges]
        table = Table.grid(padding=(0, 2))
        table.add_column(style="dim")
        table.add_column(justify="right")
        for name, runs in ways.items():
            table.add_row(name, f"{speed(runs):.1f} tokens/s")
        drafted = sum(s.drafted for run in free if (s := run.statistics) is not None)
        plain = speed(ways["target alone"])
        return Group(
            table,
            Text(),
            Text(
                f"Aligned at {speed(free) / plain:.2f} × the speed of the target alone, "
                f"{drafted or 'no'} tokens drafted; Best-of-{BEST_OF}, one answer after another, "
                f"would cost {BEST_OF} ×."
            ),
        )

    def _on_your_own(self) -> RenderableType:
        """What does the same on the reader's own file, as it can be typed here."""
        program, dials = _program(), list(dict.fromkeys(e.dial for e in self.exchanges))
        given = self.target.given or "your.gguf"
        chat = f"{program} chat -m {given} --shift {dials[0]}"
        return Group(
            *([] if self.target.given else [Text(f"{program} demo -m {given}", "bold")]),
            Text(chat, "bold"),
            Text(
                "Any GGUF with a chat template will do, of any vocabulary. --strength turns it up "
                f"and down; {program} shifts lists what else there is."
            ),
        )


def _of_drafts(done: Sequence[Statistics]) -> Iterator[tuple[str, str]]:
    """What became of drafts, and of the paper's rule, which needs them."""
    drafted, accepted = sum(s.drafted for s in done), sum(s.accepted for s in done)
    yield "accepted drafts", f"{accepted / max(drafted, 1):.0%} of {drafted}"
    tokens, rounds = sum(s.tokens for s in done), sum(s.rounds for s in done)
    yield "tokens a round", f"{tokens / rounds:.2f}, for one evaluation of the target"
    if zs := sorted(s.z.median for s in done if s.z is not None):
        yield "Z", f"medians {zs[0]:.2f} to {zs[-1]:.2f}; the paper's rule takes it for 1"
    if distances := [s.paper_distance.mean for s in done if s.paper_distance is not None]:
        distance = sum(distances) / len(distances)
        yield "paper's rule", f"is {distance:.2f} from pi* in total variation"


def _section(title: str, what: RenderableType) -> Iterable[RenderableType]:
    return Text(), Rule(title, align="left", style="dim"), what


def _program() -> str:
    """How it is called, as it can be typed here."""
    program = "rewardshift"
    called = Path(sys.argv[0])
    if called.name == program and shutil.which(program) is None:  # in an environment of its own
        return os.path.relpath(called)
    return program


def _title(name: str, exchange: Exchange, run: Run) -> Text:
    if exchange.measure is None or run.value is None:
        return Text(name, "dim")
    return Text.assemble((f"{name}  ", "dim"), exchange.measure.written(run.value))


def _mean(runs: Sequence[Run]) -> float:
    """Of their values, which they have."""
    return sum(run.value or 0.0 for run in runs) / len(runs)


def _size(path: Path) -> str:
    return amount(path.stat().st_size, "B")
