"""Pictures of a run. Needs the extra ``plot`` (matplotlib)."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any

from rewardshift.bench.plot import require_matplotlib
from rewardshift.files.paths import given_path

from .spec import TARGET

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from matplotlib.axes import Axes
    from matplotlib.axis import Axis

    from .statistics import Interval
    from .summary import Row, Summary

_INCHES = (7.2, 4.6)
_LEGEND_INCHES = 2.8
"""Further width where the legend stands beside the picture."""
_MOST_INSIDE = 5
"""Entries of a legend that leave the picture room."""
_BAND = 0.15
_TICKS = (
    (0.5, (1.0, 1.2, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0)),
    (1.0, (1.0, 1.5, 2.0, 3.0, 5.0, 7.0)),
    (2.0, (1.0, 2.0, 5.0)),
    (math.inf, (1.0,)),
)
"""Multiples of powers of ten that a log axis shows, by the most decades that it spans."""


def save_plots(summary: Summary, folder: Path, *, gold_name: str) -> dict[str, Path]:
    """Writes the pictures that there is something to show on, as SVG.

    Args:
        summary: Of the run.
        folder: Where to.
        gold_name: The gold reward's name, for the axis.

    Returns:
        Their paths by what they show.

    Raises:
        Error: If matplotlib is missing.
    """
    require_matplotlib()
    from matplotlib.figure import Figure

    folder = given_path(folder)
    gold = f"gold reward, {gold_name}"
    shown: dict[str, tuple[bool, Callable[[Axes], None]]] = {
        "cost": (True, lambda axes: _cost(axes, summary, gold)),
        "strength": (bool(_by_rule(summary)), lambda axes: _strength(axes, summary, gold)),
        "acceptance": (
            any(row.acceptance_by_position for row in summary.rows),
            lambda axes: _acceptance(axes, summary),
        ),
        "z": (any(row.z for row in summary.rows), lambda axes: _z(axes, summary)),
    }
    paths = {}
    for name, (has_data, draw) in shown.items():
        if has_data:
            figure = Figure(figsize=_INCHES, layout="constrained")
            draw(figure.subplots())
            paths[name] = folder / f"{name}.svg"
            figure.savefig(paths[name])
    return paths


def pareto_front(points: Sequence[tuple[float, float]]) -> list[int]:
    """Numbers of the points that no other one beats, by cost (less is better) and reward.

    Args:
        points: Cost and reward.

    Returns:
        In the order of their cost.
    """
    front: list[int] = []
    for i in sorted(range(len(points)), key=lambda i: (points[i][0], -points[i][1])):
        if not front or points[i][1] > points[front[-1]][1]:
            front.append(i)
    return front


# --- reward against cost ------------------------------------------------------------------------


def _cost(axes: Axes, summary: Summary, gold: str) -> None:
    """Best-of-N and each rule of SSS as curves with their numbers, the others as named points."""
    best = sorted((r for r in summary.rows if r.best_of is not None), key=lambda r: r.best_of or 0)
    curves = {"Best-of-N": best, **_by_rule(summary)}
    on_curves = {row.method for rows in curves.values() for row in rows}
    curves |= {row.name: [row] for row in summary.rows if row.method not in on_curves}
    rows = summary.rows
    front = pareto_front([(_ms(row).value, row.gold.value) for row in rows])
    axes.step(
        [_ms(rows[i]).value for i in front],
        [rows[i].gold.value for i in front],
        where="post",
        color="grey",
        linewidth=6,
        alpha=0.25,
        label="Pareto front",
        zorder=1,
    )
    for number, (name, members) in enumerate(c for c in curves.items() if c[1]):
        colour, marker = _style(number)
        _errorbars(axes, members, color=colour, fmt=f"{marker}-", label=name)
        for row in members if len(members) > 1 or row_number(members[0]) else ():
            axes.annotate(
                row_number(row),
                (_ms(row).value, row.gold.value),
                xytext=(-6 if number % 2 else 6, -11),  # neighbours do not write on each other
                textcoords="offset points",
                ha="right" if number % 2 else "left",
                fontsize=8,
                color=colour,
            )
    axes.set_xscale("log")
    axes.margins(x=0.09)
    _plain_ticks(axes.xaxis)
    axes.set(xlabel="milliseconds per token of the answer (log)", ylabel=gold)
    _finish(axes, "reward against cost; bars: 95 % intervals over prompts")


def row_number(row: Row) -> str:
    """What tells a point of a curve from the others."""
    if row.best_of is not None:
        return f"N={row.best_of}"
    return "" if row.strength is None else f"s={row.strength:g}"


def _errorbars(axes: Axes, rows: Sequence[Row], **style: Any) -> None:  # noqa: ANN401 - matplotlib's
    costs, golds = [_ms(row) for row in rows], [row.gold for row in rows]
    axes.errorbar(
        [cost.value for cost in costs],
        [gold.value for gold in golds],
        xerr=_bars(costs),
        yerr=_bars(golds),
        capsize=2,
        elinewidth=1,
        markersize=5,
        **style,
    )


def _ms(row: Row) -> Interval:
    """Milliseconds a token of the answer."""
    speed = row.tokens_per_second
    return type(speed)(1e3 / speed.value, 1e3 / speed.high, 1e3 / speed.low)


def _plain_ticks(axis: Axis) -> None:
    """Numbers on a log axis as people write them, as many as there is room for."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    low, high = axis.get_view_interval()
    decades = math.log10(high / low)
    subs = next(subs for most, subs in _TICKS if decades <= most)
    axis.set_major_locator(LogLocator(subs=subs))
    axis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
    axis.set_minor_formatter(NullFormatter())


# --- the others ---------------------------------------------------------------------------------


def _strength(axes: Axes, summary: Summary, gold: str) -> None:
    """SSS by strength, between the levels of the target and of Best-of-N."""
    curves = _by_rule(summary)
    for number, (name, rows) in enumerate(curves.items()):
        colour, marker = _style(number + 1)
        axes.errorbar(
            [row.strength or 0.0 for row in rows],
            [row.gold.value for row in rows],
            yerr=_bars([row.gold for row in rows]),
            capsize=3,
            fmt=f"{marker}-",
            color=colour,
            label=name,
        )
    levels = [row for row in summary.rows if row.best_of is not None or row.method == TARGET]
    right = max(row.strength or 0.0 for rows in curves.values() for row in rows)
    for row in levels:
        axes.axhline(row.gold.value, linestyle=":", linewidth=1, color="grey", zorder=1)
    _beside(axes, right, [(row.gold.value, row_number(row) or row.name) for row in levels])
    axes.set(xlabel="strength s", ylabel=gold, xlim=(None, right * 1.22 or 1.0))
    _finish(axes, "reward against strength; dotted: target, Best-of-N")


def _beside(axes: Axes, x: float, labels: Sequence[tuple[float, str]]) -> None:
    """Labels of levels at the right, those that would overlap in one line."""
    low, high = axes.get_ylim()
    lines: list[tuple[float, str]] = []
    for y, text in sorted(labels):
        if lines and y - lines[-1][0] < 0.045 * (high - low):
            lines[-1] = lines[-1][0], f"{lines[-1][1]}, {text}"
        else:
            lines.append((y, text))
    for y, text in lines:
        axes.annotate(
            text, (x, y), xytext=(14, 2), textcoords="offset points", fontsize=8, color="dimgrey"
        )


def _acceptance(axes: Axes, summary: Summary) -> None:
    longest = 1
    for number, row in enumerate(r for r in summary.rows if r.acceptance_by_position):
        positions = range(1, len(row.acceptance_by_position) + 1)
        colour, marker = _style(number)
        axes.plot(positions, row.acceptance_by_position, f"{marker}-", color=colour, label=row.name)
        longest = max(longest, len(positions))
    axes.set(xlabel="position in the draft", ylabel="accepted share of decisions", ylim=(0, 1))
    axes.set_xticks(range(1, longest + 1))
    _finish(axes, "acceptance by position")


def _z(axes: Axes, summary: Summary) -> None:
    """Medians as lines, the middle half as a band; of rule "exact" where that was run."""
    rows = [row for row in summary.rows if row.z]
    exact = [row for row in rows if row.rule == "exact"]
    for number, row in enumerate(exact or rows):
        positions = range(1, len(row.z) + 1)
        colour, _ = _style(number)
        axes.plot(positions, [z[2] for z in row.z], color=colour, label=row.name)
        axes.fill_between(
            positions, [z[1] for z in row.z], [z[3] for z in row.z], color=colour, alpha=_BAND, lw=0
        )
    axes.axhline(1, linestyle=":", color="grey")
    axes.set(xlabel="token of the answer", ylabel="Z (log)", yscale="log")
    _plain_ticks(axes.yaxis)
    _finish(axes, "Z over positions: median and middle half")


def _by_rule(summary: Summary) -> dict[str, list[Row]]:
    """SSS by rule and draft length, strengths increasing."""
    found: dict[str, list[Row]] = {}
    for row in sorted(summary.rows, key=lambda row: row.strength or 0.0):
        if row.strength is not None:
            drafts = "".join(f", {part}" for part in re.findall(r"K=\d+", row.name))
            found.setdefault(f"SSS, rule {row.rule}{drafts}", []).append(row)
    return found


def _bars(intervals: Sequence[Interval]) -> list[list[float]]:
    """Error bars below and above; a rounded bootstrap never lets one be negative."""
    return [
        [max(0.0, i.value - i.low) for i in intervals],
        [max(0.0, i.high - i.value) for i in intervals],
    ]


def _style(number: int) -> tuple[str, str]:
    """Colour and marker: alike only where both rounds of ten are used up."""
    return f"C{number % 10}", "os^Dv<>Ph*"[(number + 5 * (number // 10)) % 10]


def _finish(axes: Axes, title: str) -> None:
    axes.set_title(title, fontsize=11)
    axes.grid(alpha=0.3, which="major")
    handles, labels = axes.get_legend_handles_labels()
    figure = axes.get_figure(root=True)
    if figure is None or len(labels) <= _MOST_INSIDE:
        axes.legend(fontsize=8)
    else:
        figure.set_figwidth(_INCHES[0] + _LEGEND_INCHES)
        figure.legend(handles, labels, loc="outside right upper", fontsize=8)
