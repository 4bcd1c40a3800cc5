"""A picture of a pair's report. Needs the extra ``plot`` (matplotlib)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from rewardshift.bench.plot import require_matplotlib
from rewardshift.files.paths import given_path
from rewardshift.shifts import CLASSIC

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.axes import Axes

    from .measure import PairReport

_INCHES = (4.5, 3.8)


def save_plot(report: PairReport, path: Path) -> None:
    """Acceptance by position, Z and acceptance by strength, expected speed by draft length.

    Raises:
        Error: If matplotlib is missing.
        ValueError: If it does not know the format that the path's suffix names.
    """
    require_matplotlib()
    from matplotlib.figure import Figure

    width, height = _INCHES
    figure = Figure(figsize=(3 * width, height), layout="constrained")
    if report.shift != CLASSIC:
        figure.suptitle(report.shift)
    left, middle, right = figure.subplots(1, 3)
    _acceptance(left, report)
    _z(middle, report)
    _speed(right, report)
    figure.savefig(given_path(path), dpi=150)


def _acceptance(axes: Axes, report: PairReport) -> None:
    for row in report.temperatures:
        positions = range(1, len(row.by_position) + 1)
        if row.acceptance is None:
            continue
        label = f"temperature {row.temperature:g}: {row.acceptance:.2f}"
        shares = [math.nan if share is None else share for share in row.by_position]
        axes.plot(positions, shares, "o-", label=label)
        axes.set_xticks(list(positions))
    axes.set(title="accepted drafts", xlabel="position in the draft", ylim=(0, 1))
    if axes.lines:
        axes.legend()


def _z(axes: Axes, report: PairReport) -> None:
    """Boxes of the middle half, whiskers of the middle 90 %."""
    for row in report.strengths:
        if row.z is None:
            continue
        low, lower, median, upper, high = row.z
        axes.plot([row.strength] * 2, [low, high], color="C0", linewidth=1)
        axes.plot([row.strength] * 2, [lower, upper], color="C0", linewidth=7, alpha=0.5)
        axes.plot([row.strength], [median], "o", color="C0")
    axes.axhline(1, linestyle=":", color="grey")
    axes.set(title="Z by strength: median, 50 %, 90 %", xlabel="strength s", yscale="log")


def _speed(axes: Axes, report: PairReport) -> None:
    costs = report.costs
    if costs is None:  # a head drafts nothing
        axes.set_axis_off()
        return
    lengths = range(len(costs.target))
    for row in report.temperatures:
        if row.acceptance is None:
            continue
        speeds = [costs.speed(k, row.acceptance) for k in lengths]
        axes.plot(lengths, speeds, "o-", label=f"temperature {row.temperature:g}")
    axes.axhline(costs.target_speed, linestyle=":", color="grey", label="target alone, no shift")
    axes.set(title="expected speed", xlabel="draft length K", ylabel="tokens/s", ylim=(0, None))
    axes.legend()
