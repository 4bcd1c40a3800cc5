"""``rewardshift check-pair``."""

from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from rewardshift.bench import PROMPTS, require_matplotlib
from rewardshift.check import CheckOptions, PairReport, Verdict, check_pair, save_plot, verdict
from rewardshift.prompt_files import read_preferences, read_prompts
from rewardshift.shifts import CLASSIC

from .command import command
from .encode import print_json
from .naming import Called
from .options import LoadFlags, OutputFlags
from .render import stdout

_MANY = 200
"""Preference pairs that are enough."""


def add_to(app: typer.Typer) -> None:
    """Registers the command."""
    app.command("check-pair")(check)


@command
def check(
    load: LoadFlags,
    output: OutputFlags,
    preferences: Annotated[
        Path | None,
        typer.Option(
            help="JSON lines with prompt, chosen and rejected, not used in the alignment.",
            metavar="FILE",
            show_default=False,
        ),
    ] = None,
    prompts: Annotated[
        Path | None,
        typer.Option(
            help="What users ask, a line each; built-in prompts unless given.",
            metavar="FILE",
            show_default=False,
        ),
    ] = None,
    num_prompts: Annotated[
        int | None,
        typer.Option(
            "--num-prompts",
            help="Of them, at most; all unless given.",
            metavar="N",
            min=1,
            show_default=False,
        ),
    ] = None,
    draft_system: Annotated[
        str | None,
        typer.Option(
            "--draft-system",
            help="System message for the draft alone: shifts by prompt.",
            metavar="TEXT",
            show_default=False,
        ),
        Called("draft_prompt"),
    ] = None,
    temperature: Annotated[
        float, typer.Option("--temp", help="At which strengths are measured.", metavar="X")
    ] = 0.8,
    strengths: Annotated[
        str, typer.Option(help="Strengths to measure.", metavar="S,S,...")
    ] = "0.5,1,1.5,2,3",
    max_tokens: Annotated[
        int, typer.Option("-n", "--max-tokens", help="Of each response.", metavar="N")
    ] = 64,
    plot: Annotated[
        Path | None,
        typer.Option(help="Draw it here (PNG, SVG, PDF).", metavar="FILE", show_default=False),
    ] = None,
    seed: Annotated[int, typer.Option("-s", "--seed", help="Of everything.", metavar="N")] = 1,
) -> None:
    """Say whether a draft and its reference are fit to align a target, and how far they shift it.

    Measured by decoding: accepted drafts by temperature and position, the spread of Z, how far the
    paper's rule is from pi*, how far the draft has moved from its reference, whether it prefers
    what it should, and the speed to expect here. Of several shifts, each is checked by itself.

    Example: rewardshift check-pair -m big.gguf -md small-dpo.gguf --reference small.gguf
    """
    output.set_up_log()
    if plot is not None:
        require_matplotlib(plot)
    options = replace(
        CheckOptions(),
        temperature=temperature,
        strengths=_numbers(strengths),
        max_tokens=max_tokens,
        seed=seed,
    )
    if load.base is not None:
        raise ValueError("a pair is checked with drafts of its own: leave out --base")
    if plot is not None and len(load.shifts()) > 1:
        raise ValueError("--plot draws one shift, and there are several: give one --shift")
    load = load.completed()
    asked = PROMPTS if prompts is None else read_prompts(prompts)
    compared = () if preferences is None else read_preferences(preferences)[-_MANY:]
    found: dict[str, object] = {}
    for roles in _one_by_one(load):
        report = check_pair(
            roles, asked[:num_prompts], options, preferences=compared, draft_system=draft_system
        )
        advice = verdict(report, temperature=temperature)
        if plot is not None:
            save_plot(report, plot)
        found[report.shift] = {"report": asdict(report), "verdict": asdict(advice)}
        if not output.json:
            _show(report, advice)
    if output.json:
        only = next(iter(found.values()))
        print_json({"shifts": found} if len(found) > 1 else only)


def _one_by_one(load: LoadFlags) -> list[dict[str, Any]]:
    """The arguments of a decoder for each shift."""
    roles = load.arguments()
    shifts = load.shifts()
    if not shifts:
        return [roles]
    return [{**roles, "shifts": {name: shift}} for name, shift in shifts.items()]


def _show(report: PairReport, advice: Verdict) -> None:
    console = stdout()
    whose = "" if report.shift == CLASSIC else f"{report.shift}: "
    if report.temperatures:
        _show_acceptance(report, whose)
    table = _table(
        f"{whose}by strength",
        ["s", "Z, 5 %", "median", "95 %", "paper's rule", "accepted", "−log p"],
    )
    for s in report.strengths:
        z = (None,) * 3 if s.z is None else s.z[::2]
        table.add_row(
            f"{s.strength:g}",
            *map(_cell, (*z, s.paper_distance, s.acceptance, s.target_nats)),
        )
    console.print(table)
    console.print(f"\n−log p without a shift: {_cell(report.target_nats)} nats a token\n")
    for sentence in advice.sentences:
        console.print(f"• {sentence}")


def _show_acceptance(report: PairReport, whose: str) -> None:
    table = _table(f"{whose}accepted drafts", ["temperature", "all"])
    for place in range(1, len(report.temperatures[0].by_position) + 1):
        table.add_column(f"position {place}", justify="right")
    for t in report.temperatures:
        table.add_row(f"{t.temperature:g}", *map(_cell, (t.acceptance, *t.by_position)))
    stdout().print(table)
    stdout().print()


def _cell(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def _table(title: str, columns: list[str]) -> Table:
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    for name in columns:
        table.add_column(name, justify="right", no_wrap=True)
    return table


def _numbers(text: str) -> tuple[float, ...]:
    try:
        return tuple(sorted({float(part) for part in text.split(",")}))
    except ValueError:
        raise ValueError(f"--strengths takes numbers with commas, not {text!r}") from None
