"""``rewardshift demo``: plain and aligned answers of a small real model.

The target is SmolLM2-135M-Instruct. The embedded pair, a student of it before and after DPO for
positive words, aligns it while it decodes, and drafts for it.
"""

import io
import os
import re
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.padding import Padding
from rich.panel import Panel
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from rewardshift.chat.turns import prompt_tokens
from rewardshift.decoder import Decoder
from rewardshift.embedded import Roles, embedded
from rewardshift.errors import Error, EvaluationError
from rewardshift.options import SamplingOptions
from rewardshift.results import Completion, TokenInfo
from rewardshift.rewards import Reward, VaderReward, scores

from .command import command
from .encode import completion_object, print_json
from .options import OutputFlags, option
from .origins import pieces
from .render import STYLES, amount, coloured, legend, stdout

PROMPTS = (
    "What should I do this weekend?",
    "I baked my first bread.",
    "My code finally works.",
    "It is raining again.",
)
DIAL, STRENGTH = "positive", 1.0
SAMPLING: SamplingOptions = {"max_tokens": 64, "temperature": 0.8, "seed": 1}
BEST_OF = 8
"""What the cost is compared with."""

_SCORED = "VADER scores it from −1 to +1"
_NOT_SCORED = "pip install 'rewardshift[demo]' for its scores, by VADER"
_TWO_COLUMNS = 90  # characters a terminal needs for them
_SVG_WIDTH = 100
_CELL_WIDTH = 12.2  # of a character in rich's pictures
_LEADING_SPACES = re.compile(
    r'x="([\d.]+)"( y="[\d.]+" textLength=)"([\d.]+)"([^>]*>)((?:&#160;)+)'
)
_FONTS = "ui-monospace, SFMono-Regular, Menlo, Consolas, monospace"


def add_to(app: typer.Typer) -> None:
    """Registers the command."""
    app.command()(demo)


@command
def demo(
    output: OutputFlags,
    svg: Annotated[
        Path | None,
        option("--svg", panel="Output", text="Save a picture of what was printed.", metavar="FILE"),
    ] = None,
) -> None:
    """Show plain and aligned answers of a small model, their rewards and their speeds.

    The model is SmolLM2-135M-Instruct, 98 MB that are fetched the first time; the embedded pair
    aligns it to sound positive. The rewards are VADER's, from the extra demo; without it they are
    left out.

    Example: rewardshift demo --svg demo.svg
    """
    output.set_up_log()
    shown = Demo(embedded(), _vader())
    exchanges = shown.play(Console(quiet=True) if output.json else stdout())
    if svg is not None:
        svg.write_text(shown.picture(exchanges), encoding="utf-8")
    if output.json:
        print_json({"exchanges": [e.as_object() for e in exchanges]})


def _vader() -> Reward | None:
    """The reward that is shown, where its package is installed."""
    try:
        return VaderReward()
    except Error:
        return None


# --- what is decoded ----------------------------------------------------------------------------


@dataclass(slots=True)
class Run:
    """A response so far, and the time its decoding took after the first tokens came."""

    text: str = ""
    tokens: list[TokenInfo] = field(default_factory=list)
    completion: Completion | None = None
    reward: float | None = None
    timed_tokens: int = 0
    timed_seconds: float = 0.0

    @property
    def cut(self) -> str:
        """What shows that the text might have gone on."""
        return " …" if self.completion and self.completion.finish_reason == "length" else ""

    def as_object(self) -> dict[str, object]:
        """For JSON."""
        return {
            **(completion_object(self.completion) if self.completion else {}),
            "reward": self.reward,
            "tokens_per_second": speed([self]),
        }

    def follow(self, decoder: Decoder, request: int, show: Callable[[], None]) -> None:
        """Steps to the end; the time of showing is not counted."""
        while self.completion is None:
            start = time.perf_counter()
            chunks = decoder.step()
            seconds = time.perf_counter() - start
            for chunk in chunks:
                if chunk.id != request:
                    continue
                if chunk.error is not None:
                    raise EvaluationError(chunk.error)
                if self.tokens:  # the first ones waited for the prompt
                    self.timed_tokens += len(chunk.tokens)
                    self.timed_seconds += seconds
                self.text += chunk.text
                self.tokens += chunk.tokens
                self.completion = chunk.completion
            if chunks:
                show()


@dataclass(slots=True)
class Exchange:
    """One prompt, answered in three ways."""

    prompt: str
    plain: Run = field(default_factory=Run)
    aligned: Run = field(default_factory=Run)
    undrafted: Run = field(default_factory=Run)

    def play(self, decoder: Decoder, reward: Reward | None, show: Callable[[], None]) -> None:
        """Fills the runs."""
        prompt = prompt_tokens(decoder, self.prompt)

        def follow(run: Run, show: Callable[[], None], **options: object) -> None:
            asked: SamplingOptions = {**SAMPLING, **options}  # type: ignore[typeddict-item]
            run.follow(decoder, decoder.submit(prompt, **asked), show)

        follow(self.plain, show, strength=0.0, num_draft_tokens=0)
        follow(self.aligned, show, strength=STRENGTH, paper_distance=True)
        follow(self.undrafted, lambda: None, strength=STRENGTH, num_draft_tokens=0)
        if reward is not None:
            runs = (self.plain, self.aligned)
            found = scores(reward, [(self.prompt, run.text) for run in runs])
            for run, score in zip(runs, found, strict=True):
                run.reward = score
        show()

    def as_object(self) -> dict[str, object]:
        """For JSON."""
        return {
            "prompt": self.prompt,
            "plain": self.plain.as_object(),
            "aligned": self.aligned.as_object(),
            "undrafted": self.undrafted.as_object(),
        }


def speed(runs: Sequence[Run]) -> float:
    """Tokens a second, the first ones of each run left out."""
    seconds = sum(run.timed_seconds for run in runs)
    return sum(run.timed_tokens for run in runs) / seconds if seconds else 0.0


# --- what is shown ------------------------------------------------------------------------------


def heading(roles: Roles, *, has_reward: bool) -> RenderableType:
    """What the demo does."""
    text = Text()
    text.append("rewardshift", "bold")
    text.append(" aligns a model while it decodes: pi* ∝ p · (q/r)^s\n")
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", no_wrap=True)
    table.add_column()
    for name, what in (
        ("target p", f"{_name(roles['target'])}, {_size(roles['target'])}, not aligned"),
        ("reference r", f"a student of it, {_size(roles['reference'])}"),
        ("draft q", f"the student aligned by DPO: {_size(roles['draft_lora'])} more"),
        ("aligned to", Text(f"sound positive ({_SCORED if has_reward else _NOT_SCORED})")),
        ("strength s", f"{STRENGTH:g}; temperature {SAMPLING['temperature']:g}"),
        (
            "each token",
            Text.assemble(
                *(("an accepted draft", STYLES["draft"]), ", "),
                *(("the target's correction", STYLES["correction"]), " of one, or "),
                ("a bonus after accepted ones", STYLES["bonus"]),
            ),
        ),
    ):
        table.add_row(name, what)
    return Group(text, table, Text())


def _size(path: Path) -> str:
    return amount(path.stat().st_size, "B")


def _name(path: Path) -> str:
    """A cached file's name without the hash that ends it."""
    return path.stem.rsplit("-", 1)[0]


def answers(exchange: Exchange, *, columns: bool) -> RenderableType:
    """Both answers to a prompt, beside or below each other."""
    plain, aligned = exchange.plain, exchange.aligned
    plain_text = Text(plain.text).append(plain.cut, "dim")
    aligned_text = coloured(pieces(aligned.text, aligned.tokens)).append(aligned.cut, "dim")
    notes = legend(aligned.tokens)
    plain_title, aligned_title = (
        Text(name, "dim").append_text(_reward(run))
        for name, run in (("plain", plain), ("aligned", aligned))
    )
    if not columns:
        return Group(
            Text(f"> {exchange.prompt}", "bold"),
            plain_title,
            Padding(plain_text, (0, 0, 0, 4)),
            aligned_title,
            Padding(aligned_text, (0, 0, 0, 4)),
            Padding(Text("(").append_text(notes).append(")"), (0, 0, 0, 4)),
            Text(),
        )
    table = Table.grid(expand=True, padding=(0, 2), pad_edge=False)
    table.add_column(ratio=1)
    table.add_column(ratio=1)
    table.add_row(plain_title, aligned_title)
    table.add_row(plain_text, aligned_text)
    table.add_row(Text(), Group(Text(), notes))
    return Panel(
        table, title=Text(exchange.prompt, "not dim bold"), title_align="left", border_style="dim"
    )


def _reward(run: Run) -> Text:
    if run.reward is None:
        return Text()
    return Text(f"  {run.reward:+.2f}", "green" if run.reward > 0 else "red")


def statistics(exchanges: Sequence[Exchange]) -> RenderableType:
    """What the decisions and the time came to, over all prompts."""
    done = [e.aligned.completion.statistics for e in exchanges if e.aligned.completion]
    drafted, accepted = sum(s.drafted for s in done), sum(s.accepted for s in done)
    tokens, rounds = sum(s.tokens for s in done), sum(s.rounds for s in done)
    seconds, own = sum(s.seconds.total for s in done), sum(s.seconds.own for s in done)
    zs = sorted(s.z.median for s in done if s.z is not None)
    distances = [s.paper_distance.mean for s in done if s.paper_distance is not None]
    distance = sum(distances) / max(len(distances), 1)
    rewards = [[run.reward for run in (e.plain, e.aligned)] for e in exchanges]
    means = [sum(row) / len(row) for row in zip(*rewards, strict=True) if None not in row]
    facts = (
        *([("mean VADER", f"{means[0]:+.2f} plain, {means[1]:+.2f} aligned")] if means else []),
        ("accepted drafts", f"{accepted / max(drafted, 1):.0%} of {drafted}"),
        ("tokens a round", f"{tokens / rounds:.2f}, for one evaluation of the target"),
        ("Z", f"medians {zs[0]:.2f} to {zs[-1]:.2f}; the paper's rule takes it for 1"),
        (
            "paper's rule",
            f"is {distance:.2f} from pi* in total variation",
        ),
        ("our own code", f"{own / seconds:.1%} of the time"),
    )
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim")
    for name, value in facts:
        table.add_row(name, value)
    return table


def speeds(exchanges: Sequence[Exchange]) -> RenderableType:
    """Tokens a second in three ways, and what to make of it."""
    plain = speed([e.plain for e in exchanges])
    undrafted = speed([e.undrafted for e in exchanges])
    aligned = speed([e.aligned for e in exchanges])
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim")
    table.add_column(justify="right")
    table.add_row("target alone", f"{plain:.1f} tokens/s")
    table.add_row("aligned, no drafts", f"{undrafted:.1f} tokens/s")
    table.add_row("aligned, with drafts", f"{aligned:.1f} tokens/s")
    return Group(table, Text(), Text(_verdict(plain, undrafted, aligned)))


def _verdict(plain: float, undrafted: float, aligned: float) -> str:
    return (
        f"Aligned at {aligned / plain:.2f} × the speed of the plain model "
        f"({aligned / undrafted:.2f} × three models without drafts); "
        f"Best-of-{BEST_OF}, one answer after another, would cost {BEST_OF} ×."
    )


# --- all of it --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Demo:
    """What is decoded with, and what is asked."""

    roles: Roles
    reward: Reward | None = None
    prompts: Sequence[str] = PROMPTS

    def play(self, console: Console) -> list[Exchange]:
        """Prints everything as it comes; returns what was said."""
        exchanges = [Exchange(prompt) for prompt in self.prompts]
        console.print(heading(self.roles, has_reward=self.reward is not None))
        with Decoder(**self.roles, n_ctx=1024) as decoder:
            for exchange in exchanges:
                _play_shown(decoder, exchange, self.reward, console)
        for part in closing(exchanges):
            console.print(part)
        return exchanges

    def picture(self, exchanges: Sequence[Exchange]) -> str:
        """What was printed, as an SVG that loads nothing."""
        console = Console(
            record=True, file=io.StringIO(), width=_SVG_WIDTH, force_terminal=True, highlight=False
        )
        console.print(heading(self.roles, has_reward=self.reward is not None))
        for part in (*(answers(e, columns=True) for e in exchanges), *closing(exchanges)):
            console.print(part)
        svg = console.export_svg(title="rewardshift demo")
        svg = re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL)
        svg = svg.replace("Fira Code, monospace", _FONTS)
        return _LEADING_SPACES.sub(_indent, svg)


def closing(exchanges: Sequence[Exchange]) -> Sequence[RenderableType]:
    """What follows the answers."""
    return (
        Text(),
        Rule("aligned decoding", align="left", style="dim"),
        statistics(exchanges),
        Text(),
        Rule("speed on this machine", align="left", style="dim"),
        speeds(exchanges),
        Text(),
        Rule("the same on a model of yours", align="left", style="dim"),
        on_your_own(),
    )


def on_your_own() -> RenderableType:
    """What does the same on the reader's own file, as it can be typed here."""
    program = "rewardshift"
    called = Path(sys.argv[0])
    if called.name == program and shutil.which(program) is None:  # in an environment of its own
        program = os.path.relpath(called)
    return Group(
        Text(f"{program} chat -m your.gguf --shift {DIAL}", "bold"),
        Text(
            "Any GGUF with a chat template will do, of any vocabulary. --strength turns it up and "
            f"down; {program} shifts lists what else there is."
        ),
    )


def _play_shown(
    decoder: Decoder, exchange: Exchange, reward: Reward | None, console: Console
) -> None:
    columns = console.is_terminal and console.width >= _TWO_COLUMNS
    if not console.is_terminal:
        exchange.play(decoder, reward, lambda: None)
        console.print(answers(exchange, columns=columns))
        return
    with Live(console=console, auto_refresh=False, vertical_overflow="visible") as live:
        exchange.play(
            decoder, reward, lambda: live.update(answers(exchange, columns=columns), refresh=True)
        )


def _indent(match: re.Match[str]) -> str:
    """Moves text to the right in place of its leading spaces, which some viewers drop."""
    x, y, length, rest, spaces = match.groups()
    width = spaces.count(";") * _CELL_WIDTH
    if float(length) - width < _CELL_WIDTH / 2:
        return match.group()
    return f'x="{float(x) + width:g}"{y}"{float(length) - width:g}"{rest}'
