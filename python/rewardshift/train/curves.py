"""Pictures of what a run measured as it went."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from matplotlib.figure import Figure

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.axes import Axes

_WIDTH, _HEIGHT = 5.0, 3.5  # inches of a panel


def draw_distillation(run: Path) -> Path:
    """``distill.svg`` in the run's folder: held-out acceptance and cross-entropy by tokens seen."""
    rows = _read(run / "distill.jsonl")
    figure, (left, right) = _panels()
    seen = [row["tokens"] / 1e6 for row in rows]
    for name in rows[0]:
        if name.startswith("held_out_acceptance_"):
            temperature = name.rsplit("_", 1)[1]
            left.plot(seen, [r[name] for r in rows], "o-", label=f"temperature {temperature}")
    _label(left, "held-out acceptance, 1 − TV", "tokens seen, millions")
    right.plot(seen, [row["cross_entropy"] for row in rows], "o-", label="a batch")
    _label(right, "cross-entropy, nats", "tokens seen, millions")
    return _save(figure, run / "distill.svg")


def draw_alignment(run: Path) -> Path:
    """``align.svg`` in the run's folder: held-out accuracy and margin of the implicit reward."""
    rows = [row for row in _read(run / "align.jsonl") if "eval_loss" in row]
    figure, (left, right) = _panels()
    steps = [row["step"] for row in rows]
    left.plot(steps, [row["eval_rewards/accuracies"] for row in rows], "o-", label="held out")
    _label(left, "preference accuracy", "step")
    right.plot(steps, [row["eval_rewards/margins"] for row in rows], "o-", label="held out")
    _label(right, "margin of the implicit reward × beta, nats", "step")
    return _save(figure, run / "align.svg")


def draw_head(run: Path) -> Path:
    """``head.svg`` in the run's folder: what a head was measured to do after each epoch."""
    rows = _read(run / "head.jsonl")
    figure, (left, right) = _panels()
    epochs = [row["epoch"] for row in rows]
    if "tokens_a_round" in rows[0]:
        for name in (name for name in rows[0] if name.startswith("acceptance_")):
            position = name.rsplit("_", 1)[1]
            left.plot(epochs, [row[name] for row in rows], "o-", label=f"draft {position}")
        _label(left, "held-out acceptance, 1 − TV", "epoch")
        right.plot(epochs, [row["tokens_a_round"] for row in rows], "o-", label="held out")
        _label(right, "tokens a round of three drafts", "epoch")
        return _save(figure, run / "head.svg")
    name, title = next(item for item in _OF_SHIFTS.items() if item[0] in rows[0])
    left.plot(epochs, [row[name] for row in rows], "o-", label="held out")
    _label(left, title, "epoch")
    right.plot(epochs, [row["loss"] for row in rows], "o-", label="held out")
    _label(right, "loss, nats", "epoch")
    return _save(figure, run / "head.svg")


_OF_SHIFTS = {"explained": "share of KL that is explained", "accuracy": "preference accuracy"}


def _read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def _panels() -> tuple[Figure, tuple[Axes, Axes]]:
    figure = Figure(figsize=(2 * _WIDTH, _HEIGHT), layout="constrained")
    left, right = figure.subplots(1, 2)
    return figure, (left, right)


def _label(axes: Axes, title: str, x: str) -> None:
    axes.set(title=title, xlabel=x)
    axes.grid(alpha=0.3)
    axes.legend()


def _save(figure: Figure, path: Path) -> Path:
    figure.savefig(path)
    return path
