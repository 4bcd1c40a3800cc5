"""All commands under one name."""

from typing import Annotated

import typer

from rewardshift._core import version as __version__

from . import (
    align,
    bench,
    chat,
    check_pair,
    demo,
    distill,
    doctor,
    evaluate,
    generate,
    inspect_files,
    quantize,
    score,
    serve,
    shifts,
)
from .command import Command

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"rewardshift {__version__}")
        raise typer.Exit


@app.callback()
def rewardshift(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """Align a large language model while it decodes, by the shift of a small one.

    Exit codes: 0 done, 1 failed, 2 wrong usage, 130 interrupted by Ctrl-C.
    """


for module in (
    demo,
    generate,
    chat,
    serve,
    score,
    shifts,
    inspect_files,
    quantize,
    doctor,
    bench,
    distill,
    align,
    check_pair,
    evaluate,
):
    module.add_to(app)
for registered in app.registered_commands:
    registered.cls = Command
