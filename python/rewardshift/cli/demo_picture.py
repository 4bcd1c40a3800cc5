"""What ``rewardshift demo`` printed, as a picture."""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING

from rich.console import Console

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.console import RenderableType

_WIDTH = 100
_CELL_WIDTH = 12.2  # of a character in rich's pictures
_LEADING_SPACES = re.compile(
    r'x="([\d.]+)"( y="[\d.]+" textLength=)"([\d.]+)"([^>]*>)((?:&#160;)+)'
)
_FONTS = "ui-monospace, SFMono-Regular, Menlo, Consolas, monospace"


def picture(parts: Iterable[RenderableType]) -> str:
    """An SVG that loads nothing."""
    console = Console(
        record=True, file=io.StringIO(), width=_WIDTH, force_terminal=True, highlight=False
    )
    for part in parts:
        console.print(part)
    svg = console.export_svg(title="rewardshift demo")
    svg = re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL)
    svg = svg.replace("Fira Code, monospace", _FONTS)
    return _LEADING_SPACES.sub(_indent, svg)


def _indent(match: re.Match[str]) -> str:
    """Moves text to the right in place of its leading spaces, which some viewers drop."""
    x, y, length, rest, spaces = match.groups()
    width = spaces.count(";") * _CELL_WIDTH
    if float(length) - width < _CELL_WIDTH / 2:
        return match.group()
    return f'x="{float(x) + width:g}"{y}"{float(length) - width:g}"{rest}'
