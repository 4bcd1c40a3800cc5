"""``rewardshift shifts``."""

from typing import Annotated

import typer
from rich.table import Table

from rewardshift.embedded.catalogue import READY_MADE, ReadyMade

from .command import command
from .encode import print_json
from .options import OutputFlags
from .render import amount, stdout


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
    """List the shifts that ship with the package, for --shift, with their cards and licences.

    Example: rewardshift shifts positive
    """
    output.set_up_log()
    if name is not None:
        _show_card(name, as_json=output.json)
    elif output.json:
        print_json({"shifts": [_as_object(one) for one in READY_MADE]})
    else:
        stdout().print(_table())


def _show_card(name: str, *, as_json: bool) -> None:
    one = next((one for one in READY_MADE if one.name == name), None)
    if one is None:
        names = ", ".join(known.name for known in READY_MADE)
        raise ValueError(f"there is no shift {name!r} in the package; there is {names}")
    card = one.card.read_text(encoding="utf-8")
    if as_json:
        print_json({**_as_object(one), "text": card})
    else:
        stdout().print(card, soft_wrap=True, end="")


def _table() -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for head in ("name", "a target", "made for", "size", "licence"):
        table.add_column(head, overflow="fold")
    for one in READY_MADE:
        table.add_row(one.name, one.does, one.targets, amount(one.size, "B"), one.licence)
    table.caption = "rewardshift shifts NAME prints the card: how it was made, its limits."
    table.caption_justify = "left"
    return table


def _as_object(one: ReadyMade) -> dict[str, object]:
    return {
        "name": one.name,
        "does": one.does,
        "targets": one.targets,
        "bytes": one.size,
        "licence": one.licence,
        "card": str(one.card),
    }
