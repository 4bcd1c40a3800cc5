"""Draws cost_curve.svg from cost_curve.json, which benchmarks/cost_curve.py measures.

python docs/plots/cost_curve.py
"""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
WIDTH, HEIGHT = 720, 400
LEFT, TOP, BOTTOM = 52, 28, 352  # of the plot; the models' names stand to the right of it
LINE_HEIGHT, LETTER_WIDTH = 17, 8.5
COLOURS = ("#b07d12", "#5f8a1b", "#1f7f9c", "#8f4f86", "#c2553a")
STYLE = """
  .paper { fill: #ffffff } .grid { stroke: #e4e7eb } .ink { fill: #4b5563 }
  .alone { stroke: #9aa1ab; stroke-dasharray: 5 5; fill: none }
  text { font: 13px system-ui, -apple-system, "Segoe UI", Roboto, sans-serif }
  @media (prefers-color-scheme: dark) {
    .paper { fill: #1d2024 } .grid { stroke: #363b42 } .ink { fill: #b6bcc6 }
  }
"""


def draw(measured: dict[str, Any]) -> str:
    """The SVG: what a block of n rows costs, in single rows, for each model."""
    models = measured["models"]
    costs = [[ms / model["ms"][0] for ms in model["ms"]] for model in models]
    most_rows = max(model["rows"][-1] for model in models)
    right = round(WIDTH - 28 - LETTER_WIDTH * max(len(model["name"]) for model in models))
    top = int(max(map(max, costs))) + 1

    def x(rows: float) -> float:
        return round(LEFT + (right - LEFT) * (rows - 1) / (most_rows - 1), 1)

    def y(cost: float) -> float:
        return round(BOTTOM - (BOTTOM - TOP) * cost / top, 1)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img">',
        f"<title>Cost of evaluating n rows, in single rows: {measured['machine']}</title>",
        f"<style>{STYLE}</style>",
        f'<rect class="paper" width="{WIDTH}" height="{HEIGHT}" rx="6"/>',
    ]
    for cost in range(0, top + 1, 1 if top < 12 else 4):
        parts.append(f'<path class="grid" d="M{LEFT} {y(cost)}H{right}"/>')
        parts.append(text(LEFT - 10, y(cost) + 4, f"{cost}×", anchor="end"))
    for rows in (1, *range(4, most_rows + 1, 4)):
        parts.append(f'<path class="grid" d="M{x(rows)} {TOP}V{BOTTOM}"/>')
        parts.append(text(x(rows), BOTTOM + 20, str(rows), anchor="middle"))
    parts.append(text((LEFT + right) / 2, HEIGHT - 10, "rows in the block", anchor="middle"))
    end = min(top, most_rows)
    parts.append(f'<path class="alone" d="M{x(1)} {y(1)}L{x(end)} {y(end)}"/>')
    parts.append(text(x(end) + 8, y(end) + 4, "row by row"))

    heights = spread_out([y(cost[-1]) for cost in costs])
    for i, (model, cost, height) in enumerate(zip(models, costs, heights, strict=True)):
        colour = COLOURS[i % len(COLOURS)]
        points = [(x(n), y(c)) for n, c in zip(model["rows"], cost, strict=True)]
        line = "L".join(f"{px} {py}" for px, py in points)
        parts.append(f'<path d="M{line}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [f'<circle cx="{px}" cy="{py}" r="3" fill="{colour}"/>' for px, py in points]
        parts.append(text(right + 14, height + 4, model["name"], fill=colour))
    return "\n".join([*parts, "</svg>", ""])


def text(x: float, y: float, words: str, *, anchor: str = "start", fill: str = "") -> str:
    """A line of text in ink, or in a colour."""
    look = f'fill="{fill}" font-weight="600"' if fill else 'class="ink"'
    return f'<text x="{x:g}" y="{y:g}" text-anchor="{anchor}" {look}>{words}</text>'


def spread_out(heights: list[float]) -> list[float]:
    """Heights at least a line apart, the lowest name staying where it is."""
    placed = list(heights)
    order = sorted(range(len(heights)), key=lambda i: -heights[i])
    for below, above in pairwise(order):
        placed[above] = min(placed[above], placed[below] - LINE_HEIGHT)
    return placed


if __name__ == "__main__":
    measured = json.loads((HERE / "cost_curve.json").read_text(encoding="utf-8"))
    (HERE / "cost_curve.svg").write_text(draw(measured), encoding="utf-8")
