"""A run's report: one page as Markdown, the same as HTML that needs no other file."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rewardshift.files.paths import given_path

from . import columns
from .caveats import caveats
from .pages import Quotes, Section, Table, html_page, markdown
from .run import OPTIONS, is_path
from .statistics import FEWEST_PROMPTS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .columns import Column
    from .equal_gold import EqualGold
    from .pages import Part
    from .samples import Sample
    from .summary import Summary

_CAPTIONS = {
    "cost": "Gold reward against what a token of the answer costs; whoever is on the grey front is "
    "beaten by nobody at both, by the point estimates: the bars say how sure that is.",
    "strength": "Gold reward against the strength of the shift.",
    "acceptance": "Accepted share of the decisions at each position of the draft.",
    "z": "Z, the normaliser of p · (q/r)^s, over the answer: near 1, draft and target agree about "
    "what the shift applies to.",
}
_OF_EQUAL = (
    "The N at which Best-of-N has a method's gold reward, interpolated in log N between those that "
    "were run, after smoothing out where the reward falls as N grows (isotonic regression); and "
    "how much faster the method is there, in tokens a second. `>` marks an N beyond those that "
    "were run, and then the speed-up over the largest one, which is less than the real one. `<` "
    "marks that the smallest N that was run has more gold reward than the method: there is nothing "
    "to compare at equal reward (–), and an end of an interval is below the speed-up over that N."
)
_OF_ANSWERS = (
    "What every method said to the first prompts, once. A score that grows while the text does not "
    "get better, by repeated praise for instance, is reward hacking: read before you believe."
)
_PROMPTS_SHOWN = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFacts:
    """What a reader must know of a run.

    Attributes:
        command: What repeats it.
        gold_name: The gold reward.
        training_name: The reward that methods may choose by.
        temperature: Of every method's law.
        max_tokens: Of each answer.
        ran_on: Other facts by name: models, machine, versions.
    """

    command: str
    gold_name: str
    training_name: str
    temperature: float
    max_tokens: int
    ran_on: Mapping[str, str]


def facts_of(folder: Path, *, command: str) -> RunFacts:
    """What the run in a folder says of itself.

    Args:
        folder: Of ``evaluate``.
        command: What repeats the run.
    """
    known = json.loads((given_path(folder) / OPTIONS).read_text(encoding="utf-8"))
    return RunFacts(
        command=command,
        gold_name=known["gold"],
        training_name=known["training"],
        temperature=known["temperature"],
        max_tokens=known["max_tokens"],
        ran_on={
            **{
                role: Path(path).name if is_path(role) else path
                for role, path in known["models"].items()
            },
            "machine": f"{known['machine']}, compiled for {known['compiled_for']}",
            "versions": f"rewardshift {known['rewardshift']}, llama.cpp {known['llama_cpp']}",
        },
    )


def write_report(
    summary: Summary,
    facts: RunFacts,
    folder: Path,
    *,
    plots: Mapping[str, Path],
    samples: Sequence[Sample] = (),
) -> list[Path]:
    """Writes ``report.md`` and ``report.html``.

    Args:
        summary: Of the run.
        facts: About it.
        folder: Where to.
        plots: Pictures in the folder, by the names that ``save_plots`` gives them.
        samples: Of the run; the report shows some of their answers.

    Returns:
        Both paths.
    """
    sections = [
        Section(
            "Results",
            [
                _legend(summary),
                *_table(summary, columns.results(summary, facts.gold_name, facts.training_name)),
            ],
        ),
        Section("At equal gold reward", _equal(summary)),
        Section("Cost", _table(summary, columns.cost(summary))),
        Section("Text", _table(summary, columns.text(facts.temperature))),
        Section("Answers", _answers(summary, samples)),
        Section("Pictures", [part for name in plots for part in (plots[name], _CAPTIONS[name])]),
        Section("What was run", _run(summary, facts)),
        Section("What cannot be concluded", [caveats(summary, facts.gold_name)]),
    ]
    shown = [section for section in sections if section.parts]
    title = "Evaluation: reward, speed, calls and diversity"
    folder = given_path(folder)
    paths = folder / "report.md", folder / "report.html"
    for path, text in zip(paths, (markdown(title, shown), html_page(title, shown)), strict=True):
        path.write_text(text, encoding="utf-8")
    return list(paths)


# --- what is said -------------------------------------------------------------------------------


def _legend(summary: Summary) -> str:
    intervals = (
        "Brackets are 95 % bootstrap intervals over prompts."
        if summary.prompts >= FEWEST_PROMPTS
        else f"There are no intervals: {summary.prompts} prompts say too little about what others "
        f"would give; {FEWEST_PROMPTS} are needed at least."
    )
    against = (
        "No Best-of-N was run to compare with."
        if summary.baseline is None
        else f"The baseline is {summary.row(summary.baseline).name}."
    )
    return f"{intervals} {against} – marks what is unknown or does not apply."


def _table(summary: Summary, shown: Sequence[Column]) -> list[Part]:
    """A row for each method, and what its columns say."""
    rows = [[row.name, *(column.cell(row) for column in shown)] for row in summary.rows]
    glossary = [f"{column.head}: {column.says}" for column in shown]
    return [Table(["method", *(column.head for column in shown)], rows), glossary]


def _equal(summary: Summary) -> list[Part]:
    if not summary.equal:
        return []
    rows = [
        [summary.row(method).name, reached(found), gained(found)]
        for method, found in summary.equal.items()
    ]
    return [
        _OF_EQUAL,
        Table(["method", "equals Best-of-N at N", "speed-up there"], rows),
    ]


def _answers(summary: Summary, samples: Sequence[Sample]) -> list[Part]:
    """What every method said to the first prompts."""
    if not samples:
        return []
    found = {sample.key: sample for sample in samples}
    seed = min(sample.seed for sample in samples)
    prompts = list(dict.fromkeys(sample.prompt for sample in samples))[:_PROMPTS_SHOWN]
    parts: list[Part] = [_OF_ANSWERS]
    for prompt in prompts:
        answers = [(row.name, found[row.method, prompt, seed]) for row in summary.rows]
        parts.append(
            Quotes(prompt, [(f"{name}, gold {s.gold:.2f}", s.text) for name, s in answers])
        )
    return parts


def reached(found: EqualGold) -> str:
    """The N that has a method's gold reward: "5.2 [3.1, > 16]"."""

    def text(n: float) -> str:
        if math.isinf(n):
            return f"> {found.largest}"
        return f"{n:.1f}" if n else f"< {found.smallest}"

    return found.n.shown(text)


def gained(found: EqualGold) -> str:
    """The speed-up there: "4.1 × [3.0, > 5.2]"; "–" where the smallest N has more gold reward."""

    def text(speed_up: float) -> str:
        if math.isinf(speed_up):
            return f"> {found.at_largest:.2f}"
        return f"{speed_up:.2f}" if speed_up else f"< {found.at_smallest:.2f}"

    return found.speed_up.shown(text, " ×") if found.n.value else "–"


def _run(summary: Summary, facts: RunFacts) -> list[Part]:
    size = (
        f"{summary.prompts} prompts × {summary.seeds} seeds, up to {facts.max_tokens} tokens an "
        f"answer, temperature {facts.temperature:g}. Methods that are run together take turns "
        "prompt by prompt; what was added later was timed later. Every prompt had been evaluated "
        "by all models before the clock started, so times are those of the answers."
    )
    ran_on = [f"{name}: {value}" for name, value in facts.ran_on.items()]
    return [size, ran_on, f"`{facts.command}`"]
