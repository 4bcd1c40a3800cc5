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
    from .samples import Sample
    from .statistics import Interval
    from .summary import Row, Summary

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
dt { color: #4b5563; font-size: 13px; } dd { margin: 0 0 .6rem 1rem; white-space: pre-wrap; }
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
class _Column:
    head: str
    cell: Callable[[Row], str]
    says: str
    """What the glossary says of it."""


@dataclass(frozen=True, slots=True)
class _Table:
    head: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True, slots=True)
class _Quotes:
    """What others wrote, by whom: it may hold any character, none of which is markup."""

    said: Sequence[tuple[str, str]]


_Part = str | _Table | _Quotes | list[str] | Path


@dataclass(frozen=True, slots=True)
class _Section:
    title: str
    parts: Sequence[_Part]
    """Paragraphs, tables, quotes, lists and pictures; `code` is marked as in Markdown."""


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
        _Section("Results", [_legend(summary), *_table(summary, _results(summary, facts))]),
        _Section("At equal gold reward", _equal(summary)),
        _Section("Cost", _table(summary, _cost(summary))),
        _Section("Text", _table(summary, _text(facts))),
        _Section("Answers", _answers(summary, samples)),
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


def _table(summary: Summary, columns: Sequence[_Column]) -> list[_Part]:
    """A row for each method, and what its columns say."""
    rows = [[row.name, *(column.cell(row) for column in columns)] for row in summary.rows]
    glossary = [f"{column.head}: {column.says}" for column in columns]
    return [_Table(["method", *(column.head for column in columns)], rows), glossary]


def _results(summary: Summary, facts: RunFacts) -> list[_Column]:
    return [
        _Column(
            f"gold reward ({facts.gold_name})",
            lambda row: f"{row.gold:.3f}",
            "mean over all answers of the reward that judges; no method chooses by it.",
        ),
        *_against(summary),
        _Column(
            f"training reward ({facts.training_name})",
            lambda row: f"{row.training:.3f}",
            "mean of the reward that methods such as Best-of-N choose by. Where it rises and the "
            "gold reward does not, a method exploits what the training reward gets wrong.",
        ),
        _Column(
            "tokens/s",
            lambda row: _count(row.tokens_per_second.value),
            "tokens of all answers by their wall time, rewards that a method asks for included.",
        ),
    ]


def _against(summary: Summary) -> list[_Column]:
    """The columns that compare with the baseline; none without one."""
    if summary.baseline is None:
        return []

    def column(
        head: str,
        interval: Callable[[Row], Interval | None],
        text: Callable[[Interval], str],
        says: str,
    ) -> _Column:
        def cell(row: Row) -> str:
            found = interval(row)
            if row.method == summary.baseline or found is None:
                return "baseline"
            return text(found)

        return _Column(head, cell, says)

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


def _cost(summary: Summary) -> list[_Column]:
    return [
        _Column(
            "seconds per answer",
            lambda row: f"{row.seconds.value:.2f}",
            "mean wall time; the prompt's evaluation is not in it.",
        ),
        *(
            _Column(
                f"{role} evaluations",
                _evaluations(role),
                "texts that a method had scored for an answer, in parentheses likewise."
                if role == "reward"
                else f"batches that the {role} evaluated for an answer and, in parentheses, the "
                "tokens in them.",
            )
            for role in summary.rows[0].calls
        ),
        _Column(
            "tokens per target evaluation",
            lambda row: _number(row.tokens_per_evaluation, ".2f"),
            "tokens of the answer by batches of the target: what speculation is about. Plain "
            "decoding has 1.",
        ),
        _Column(
            "accepted",
            lambda row: _number(row.acceptance, ".2f"),
            "accepted share of the decisions about drafted tokens; those behind a rejected one "
            "are never decided.",
        ),
    ]


def _text(facts: RunFacts) -> list[_Column]:
    return [
        _Column("tokens", lambda row: f"{row.tokens:.0f}", "mean length of an answer."),
        _Column(
            "distinct-1",
            lambda row: _number(row.distinct_1, ".3f"),
            "different words by all words, over all answers: falls where a method repeats itself, "
            "and with length.",
        ),
        _Column(
            "distinct-2",
            lambda row: _number(row.distinct_2, ".3f"),
            "likewise of pairs of words.",
        ),
        _Column(
            "self-BLEU",
            lambda row: _number(row.self_bleu, ".2f"),
            "how alike the answers to one prompt are: 1 is all the same. Needs two seeds.",
        ),
        _Column(
            "KL, nats/token",
            _kl,
            "how far a method's law is from the target's at temperature "
            f"{facts.temperature:g}, estimated from the log-probabilities of its answers; the "
            "target's own row shows the floor that rounding leaves. ≤ marks the bound "
            "log N − (N − 1)/N for Best-of-N.",
        ),
        _Column(
            "perplexity",
            lambda row: "–" if row.perplexity is None else f"{row.perplexity:.2f}",
            "the target's, of the answers, at temperature 1: rises where a reward is bought with "
            "text that the target finds unlikely.",
        ),
    ]


def _equal(summary: Summary) -> list[_Part]:
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


def _answers(summary: Summary, samples: Sequence[Sample]) -> list[_Part]:
    """What every method said to the first prompts."""
    if not samples:
        return []
    found = {sample.key: sample for sample in samples}
    seed = min(sample.seed for sample in samples)
    prompts = list(dict.fromkeys(sample.prompt for sample in samples))[:_PROMPTS_SHOWN]
    parts: list[_Part] = [_OF_ANSWERS]
    for prompt in prompts:
        said = [("prompt", prompt)]
        for row in summary.rows:
            sample = found[row.method, prompt, seed]
            said.append((f"{row.name}, gold {sample.gold:.2f}", sample.text))
        parts.append(_Quotes(said))
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


def _run(summary: Summary, facts: RunFacts) -> list[_Part]:
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


def _count(value: float) -> str:
    """Three digits, or all in front of the point: "12.3", "1,950"."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _evaluations(role: str) -> Callable[[Row], str]:
    def cell(row: Row) -> str:
        calls, inside = row.calls[role], row.evaluated[role]
        return f"{_count(calls)} ({_count(inside)})" if calls or inside else "–"

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
            elif isinstance(part, _Quotes):
                blocks.append("\n".join(f"- {who}: {_as_said(text)}" for who, text in part.said))
            elif isinstance(part, list):
                blocks.append("\n".join(f"- {item}" for item in part))
            else:
                blocks.append(f"![{part.stem}]({part.name})")
    return "\n\n".join(blocks) + "\n"


def _as_said(text: str) -> str:
    """In one line, with a backslash before what Markdown would read as markup."""
    return re.sub(r"([\\`*_\[\]<>#|~&$])", r"\\\1", " ".join(text.split())) or "(nothing)"


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


def _html_part(part: _Part) -> str:
    if isinstance(part, str):
        return (
            f"<pre>{html.escape(part[1:-1])}</pre>" if _is_code(part) else f"<p>{_marked(part)}</p>"
        )
    if isinstance(part, _Table):
        return _html_table(part)
    if isinstance(part, _Quotes):
        return f"<dl>{''.join(_html_quote(who, text) for who, text in part.said)}</dl>"
    if isinstance(part, list):
        return "<ul>" + "".join(f"<li>{_marked(item)}</li>" for item in part) + "</ul>"
    picture = base64.b64encode(part.read_bytes()).decode()
    source = f"data:image/svg+xml;base64,{picture}"
    return f'<figure><img src="{source}" alt="{html.escape(part.stem)}"></figure>'


def _html_quote(who: str, text: str) -> str:
    return f"<dt>{html.escape(who)}</dt><dd>{html.escape(text) or '(nothing)'}</dd>"


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
