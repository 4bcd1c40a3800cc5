"""Measurements as a table of text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


def table(
    title: str, columns: Sequence[str], rows: Iterable[Sequence[str]], *, note: str | None = None
) -> Table:
    """Names on the left, numbers on the right; a note below.

    Args:
        title: Above it.
        columns: Their heads; the first one's is the rows' kind.
        rows: Cells, as many as columns.
        note: What the reader must know to read the numbers.
    """
    made = Table(
        title=title,
        caption=note,
        box=None,
        pad_edge=False,
        padding=(0, 2, 0, 0),
        title_justify="left",
        caption_justify="left",
        title_style="bold",
        caption_style="dim",
        header_style="dim",
    )
    for i, column in enumerate(columns):
        made.add_column(column, justify="right" if i else "left", no_wrap=True)
    for row in rows:
        made.add_row(*row)
    return made
