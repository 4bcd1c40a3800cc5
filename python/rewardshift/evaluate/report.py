"""A run's report: one page as Markdown, the same as HTML that needs no other file."""

from __future__ import annotations

import base64
import html
import json
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from .caveats import caveats
from .run import OPTIONS
from .statistics import FEWEST_PROMPTS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from .equal_gold import EqualGold
    from .statistics import Interval
    from .summary import Row, Summary

_CAPTIONS = {
    "cost": "Gold reward against what a token of the answer costs; whoever is on the grey front is "
    "beaten by nobody at both.",
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
_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 76rem; padding: 0 1rem;
  color: #1c1f23; background: #fff; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.2rem; margin-top: 2rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: 13px; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .6rem; border-bottom: 1px solid #d9dde2; text-align: right;
  white-space: nowrap; }
th { vertical-align: bottom; white-space: normal; color: #4b5563; font-weight: 600; }
th:first-child, td:first-child { text-align: left; position: sticky; left: 0; background: #fff; }
figure { display: inline-block; margin: .5rem; max-width: 36rem; vertical-align: top; }
figure img { width: 100%; } figcaption { color: #4b5563; font-size: 13px; }
code, pre { font-size: 13px; background: #f3f4f6; border-radius: 4px; padding: .1rem .3rem; }
pre { padding: .6rem; overflow-x: auto; }
"""


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
    known = json.loads((folder / OPTIONS).read_text(encoding="utf-8"))
    return RunFacts(
        command=command,
        gold_name=known["gold"],
        training_name=known["training"],
        temperature=known["temperature"],
        max_tokens=known["max_tokens"],
        ran_on={
            **{role: Path(path).name for role, path in known["models"].items()},
            "machine": f"{known['machine']}, compiled for {known['compiled_for']}",
            "versions": f"rewardshift {known['rewardshift']}, llama.cpp {known['llama_cpp']}",
        },
    )


@dataclass(frozen=True, slots=True)
class _Table:
    head: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True, slots=True)
class _Section:
    title: str
    parts: Sequence[str | _Table | list[str] | Path]
    """Paragraphs, tables, lists and pictures; `code` is marked as in Markdown."""


def write_report(
    summary: Summary, facts: RunFacts, folder: Path, *, plots: Mapping[str, Path]
) -> list[Path]:
    """Writes ``report.md`` and ``report.html``.

    Args:
        summary: Of the run.
        facts: About it.
        folder: Where to.
        plots: Pictures in the folder, by the names that ``save_plots`` gives them.

    Returns:
        Both paths.
    """
    sections = [
        _Section("Results", [_legend(summary, facts), _results(summary, facts)]),
        _Section("At equal gold reward", _equal(summary)),
        _Section("Pictures", [part for name in plots for part in (plots[name], _CAPTIONS[name])]),
        _Section("What was run", _run(summary, facts)),
        _Section("What cannot be concluded", [caveats(summary, facts.gold_name)]),
    ]
    shown = [section for section in sections if section.parts]
    title = "Evaluation: reward, speed, calls and diversity"
    paths = folder / "report.md", folder / "report.html"
    for path, text in zip(paths, (_markdown(title, shown), _html(title, shown)), strict=True):
        path.write_text(text, encoding="utf-8")
    return list(paths)


# --- what is said -------------------------------------------------------------------------------


def _legend(summary: Summary, facts: RunFacts) -> str:
    intervals = (
        "Brackets are 95 % bootstrap intervals over prompts."
        if summary.prompts >= FEWEST_PROMPTS
        else f"There are no intervals: {summary.prompts} prompts say too little about what others "
        f"would give; {FEWEST_PROMPTS} are needed at least."
    )
    against = (
        "No Best-of-N was run to compare with."
        if summary.baseline is None
        else f"Wins and speed-ups are against {summary.row(summary.baseline).name}: wins by gold "
        "reward, ties half; speed-ups in tokens a second."
    )
    return (
        f"{intervals} {against} Evaluations are batches for an answer, and in parentheses the "
        "tokens (for the reward: texts) in them. KL is the divergence from the target at "
        f"temperature {facts.temperature:g}, estimated from the log-probabilities of the answers; "
        "≤ marks the bound log N − (N − 1)/N for Best-of-N."
    )


def _results(summary: Summary, facts: RunFacts) -> _Table:
    columns: dict[str, Callable[[Row], str]] = {
        "method": lambda row: row.name,
        f"gold reward ({facts.gold_name})": lambda row: f"{row.gold:.3f}",
        f"training reward ({facts.training_name})": lambda row: f"{row.training:.3f}",
        **_gain(summary),
        "wins": lambda row: _percent(row.win_rate),
        "tokens/s": lambda row: f"{row.tokens_per_second.value:.1f}",
        "seconds per answer": lambda row: f"{row.seconds.value:.2f}",
        "speed-up": lambda row: _times(row.speed_up),
        **{f"{role} evaluations": _evaluations(role) for role in summary.rows[0].calls},
        "tokens per target evaluation": lambda row: _number(row.tokens_per_evaluation, ".2f"),
        "accepted": lambda row: _number(row.acceptance, ".2f"),
        "distinct-1": lambda row: _number(row.distinct_1, ".3f"),
        "distinct-2": lambda row: _number(row.distinct_2, ".3f"),
        "self-BLEU": lambda row: _number(row.self_bleu, ".2f"),
        "KL, nats/token": _kl,
        "perplexity": lambda row: "–" if row.perplexity is None else f"{row.perplexity:.2f}",
        "tokens": lambda row: f"{row.tokens:.0f}",
    }
    return _Table(list(columns), [[cell(row) for cell in columns.values()] for row in summary.rows])


def _gain(summary: Summary) -> dict[str, Callable[[Row], str]]:
    """The column of differences from the baseline, which names it; none without one."""
    if summary.baseline is None:
        return {}
    return {
        f"gold − {summary.row(summary.baseline).name}": lambda row: (
            "–" if row.gain is None else f"{row.gain:+.3f}"
        )
    }


def _equal(summary: Summary) -> list[str | _Table | list[str] | Path]:
    if not summary.equal:
        return []
    rows = [
        [summary.row(method).name, reached(found), gained(found)]
        for method, found in summary.equal.items()
    ]
    return [
        _OF_EQUAL,
        _Table(["method", "equals Best-of-N at N", "speed-up there"], rows),
    ]


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


def _run(summary: Summary, facts: RunFacts) -> list[str | _Table | list[str] | Path]:
    size = (
        f"{summary.prompts} prompts × {summary.seeds} seeds, up to {facts.max_tokens} tokens an "
        f"answer, temperature {facts.temperature:g}. Methods took turns prompt by prompt. Every "
        "prompt had been evaluated by all models before the clock started, so times are those of "
        "the answers."
    )
    ran_on = [f"{name}: {value}" for name, value in facts.ran_on.items()]
    return [size, ran_on, f"`{facts.command}`"]


# --- cells --------------------------------------------------------------------------------------


def _number(value: float | None, form: str) -> str:
    return "–" if value is None or math.isnan(value) else f"{value:{form}}"


def _kl(row: Row) -> str:
    if row.kl is None:
        return "–"
    return f"≤ {row.kl.value:.3f}" if row.kl_is_bound else f"{row.kl:.3f}"


def _percent(interval: Interval | None) -> str:
    if interval is None:
        return "–"
    return interval.shown(lambda share: f"{100 * share:.0f}", " %")


def _times(interval: Interval | None) -> str:
    if interval is None:
        return "–"
    return interval.shown(lambda x: f"{x:.2f}", " ×")


def _evaluations(role: str) -> Callable[[Row], str]:
    def cell(row: Row) -> str:
        calls, inside = row.calls[role], row.evaluated[role]
        return f"{calls:.3g} ({inside:.3g})" if calls or inside else "–"

    return cell


# --- pages --------------------------------------------------------------------------------------


def _markdown(title: str, sections: Sequence[_Section]) -> str:
    blocks = [f"# {title}"]
    for section in sections:
        blocks.append(f"## {section.title}")
        for part in section.parts:
            if isinstance(part, str):
                blocks.append(f"```text\n{part[1:-1]}\n```" if _is_code(part) else part)
            elif isinstance(part, _Table):
                blocks.append(_markdown_table(part))
            elif isinstance(part, list):
                blocks.append("\n".join(f"- {item}" for item in part))
            else:
                blocks.append(f"![{part.stem}]({part.name})")
    return "\n\n".join(blocks) + "\n"


def _markdown_table(table: _Table) -> str:
    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"

    rule = "|" + "|".join(["---", *["---:"] * (len(table.head) - 1)]) + "|"
    return "\n".join([line(table.head), rule, *map(line, table.rows)])


def _html(title: str, sections: Sequence[_Section]) -> str:
    body = [f"<h1>{html.escape(title)}</h1>"]
    for section in sections:
        body.append(f"<h2>{html.escape(section.title)}</h2>")
        body += [_html_part(part) for part in section.parts]
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{html.escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
        + "\n".join(body)
        + "\n</body>\n</html>\n"
    )


def _html_part(part: str | _Table | list[str] | Path) -> str:
    if isinstance(part, str):
        return (
            f"<pre>{html.escape(part[1:-1])}</pre>" if _is_code(part) else f"<p>{_marked(part)}</p>"
        )
    if isinstance(part, _Table):
        return _html_table(part)
    if isinstance(part, list):
        return "<ul>" + "".join(f"<li>{_marked(item)}</li>" for item in part) + "</ul>"
    picture = base64.b64encode(part.read_bytes()).decode()
    source = f"data:image/svg+xml;base64,{picture}"
    return f'<figure><img src="{source}" alt="{html.escape(part.stem)}"></figure>'


def _html_table(table: _Table) -> str:
    def line(cells: Sequence[str], tag: str) -> str:
        return "<tr>" + "".join(f"<{tag}>{html.escape(c)}</{tag}>" for c in cells) + "</tr>"

    rows = "\n".join(line(row, "td") for row in table.rows)
    return (
        f'<div class="wide"><table><thead>{line(table.head, "th")}</thead>\n'
        f"<tbody>\n{rows}\n</tbody></table></div>"
    )


def _is_code(part: str) -> bool:
    return part.startswith("`") and part.endswith("`") and part.count("`") == 2


def _marked(text: str) -> str:
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", html.escape(text))
