"""A picture of speed against draft length. Needs the extra ``plot`` (matplotlib)."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from rewardshift.errors import Error
from rewardshift.files.paths import given_path, require_folder

from .speed import ADAPTIVE, TARGET_ONLY, THREE_MODELS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from matplotlib.axes import Axes

    from .speed import SpeedReport
    from .spread import Range

_INCHES = (6.0, 4.0)
_BASE_STYLES = {TARGET_ONLY: ":", THREE_MODELS: "--"}


def require_matplotlib(path: Path | None = None) -> None:
    """Raises, before anything is measured in vain, if nothing could be drawn.

    Args:
        path: The picture's.

    Raises:
        Error: If matplotlib is missing; it says how to get it.
        FileNotFoundError: If there is no such folder.
        ValueError: If matplotlib does not know the format that the path's suffix names.
    """
    try:
        import_module("matplotlib")
    except ImportError as error:
        raise Error(
            "a plot needs matplotlib, which is not installed: pip install 'rewardshift[plot]'"
        ) from error
    if path is None:
        return
    from matplotlib.figure import Figure

    known = Figure().canvas.get_supported_filetypes()
    if path.suffix and path.suffix[1:].lower() not in known:
        raise ValueError(f"{path}: no such format of pictures; there are {', '.join(known)}")
    require_folder(path)


def save_plot(reports: Sequence[SpeedReport], path: Path) -> None:
    """Writes a picture with a panel for each report; the path's suffix names the format.

    Raises:
        Error: If matplotlib is missing.
        ValueError: If it does not know the format.
    """
    require_matplotlib()
    from matplotlib.figure import Figure

    width, height = _INCHES
    figure = Figure(figsize=(width * len(reports), height), layout="constrained")
    panels = figure.subplots(1, len(reports), squeeze=False)[0]
    for axes, report in zip(panels, reports, strict=True):
        _draw(axes, report)
    figure.savefig(given_path(path), dpi=150)


def _draw(axes: Axes, report: SpeedReport) -> None:
    """Fixed lengths as a curve, those without drafts as lines, the adaptive choice as a star."""
    ways = sorted(report.draft_lengths, key=report.draft_lengths.__getitem__)
    lengths = [report.draft_lengths[way] for way in ways]
    points = [(float(k), report.speed(way)) for k, way in zip(lengths, ways, strict=True)]
    _errorbar(axes, points, fmt="o-", label="fixed K")
    choice = report.total(ADAPTIVE).drafted_per_round, report.speed(ADAPTIVE)
    _errorbar(axes, [choice], fmt="*", markersize=14, label="adaptive (mean K)")
    for name, style in _BASE_STYLES.items():
        if name in report.samples:
            speed = report.speed(name)
            axes.axhline(speed.median, linestyle=style, color="grey", label=name)
    axes.set(title=report.title, xlabel="draft length K", xlim=(-0.5, None), xticks=[0, *lengths])
    axes.set(ylabel="tokens/s", ylim=(0, None))
    axes.legend()


def _errorbar(axes: Axes, points: Sequence[tuple[float, Range]], **style: Any) -> None:  # noqa: ANN401 - matplotlib's
    """Medians with the range of the repetitions."""
    below = [speed.median - speed.low for _, speed in points]
    above = [speed.high - speed.median for _, speed in points]
    axes.errorbar(
        [x for x, _ in points],
        [speed.median for _, speed in points],
        yerr=[below, above],
        capsize=3,
        **style,
    )
