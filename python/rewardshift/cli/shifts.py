"""``rewardshift shifts``."""

from typing import Annotated

import typer
from rich.table import Table

from rewardshift.dials.catalogue import all_dials, dial_named, is_ours
from rewardshift.dials.dial import Dial
from rewardshift.sources.folders import dials_root

from .command import command
from .encode import print_json
from .options import OutputFlags
from .render import amount, stderr, stdout


def add_to(app: typer.Typer) -> None:
    """Registers the command."""
    app.command()(shifts)


@command
def shifts(
    output: OutputFlags,
    name: Annotated[
        str | None, typer.Argument(help="Print the card of this one.", show_default=False)
    ] = None,
) -> None:
    """List the dials, for --shift: those of the package and yours, with licences and cards.

    Example: rewardshift shifts positive
    """
    output.set_up_log()
    if name is not None:
        _show_card(dial_named(name), as_json=output.json)
        return
    found, wrong = all_dials()
    if output.json:
        print_json({"shifts": [_as_object(dial) for dial in found], "wrong": wrong})
        return
    stdout().print(_table(found))
    for trouble in wrong:
        stderr().print(f"rewardshift: {trouble}", soft_wrap=True, markup=False)


def _show_card(dial: Dial, *, as_json: bool) -> None:
    card = dial.card.read_text(encoding="utf-8")
    if as_json:
        print_json({**_as_object(dial), "text": card})
    else:
        stdout().print(card, soft_wrap=True, end="", markup=False)


def _table(dials: list[Dial]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for head in ("name", "a target", "strength", "size", "licence", "from"):
        table.add_column(head, overflow="fold")
    for dial in dials:
        usual = dial.strengths
        table.add_row(
            dial.name,
            dial.does,
            f"{usual.same_vocabulary:g}, or {usual.other_vocabulary:g}",
            amount(_size(dial), "B"),
            dial.licence,
            _origin(dial),
        )
    table.caption = (
        "Strengths: of targets with the reference's vocabulary, or another one. "
        f"Yours are looked for in {dials_root()}. "
        "rewardshift shifts NAME prints the card: how it was made, its limits."
    )
    table.caption_justify = "left"
    return table


def _origin(dial: Dial) -> str:
    return "the package" if is_ours(dial.name) else "you"


def _size(dial: Dial) -> int:
    """Bytes of the adapter; the reference is there once for all."""
    return dial.adapter.stat().st_size


def _as_object(dial: Dial) -> dict[str, object]:
    return {
        "name": dial.name,
        "does": dial.does,
        "strength": {
            "same_vocabulary": dial.strengths.same_vocabulary,
            "other_vocabulary": dial.strengths.other_vocabulary,
        },
        "bytes": _size(dial),
        "licence": dial.licence,
        "from": _origin(dial),
        "folder": str(dial.folder),
        "card": str(dial.card),
        "reference_sha256": dial.reference_sha256,
    }
