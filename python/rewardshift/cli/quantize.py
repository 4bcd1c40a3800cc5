"""``rewardshift quantize``."""

import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from rewardshift import _core
from rewardshift.costs import measure_costs
from rewardshift.hub import local_path
from rewardshift.loading.quantize import quantize as write_quantised
from rewardshift.loading.quantize import type_named
from rewardshift.sources.folders import cache_root
from rewardshift.sources.hub import StrPath

from .command import command
from .encode import print_json
from .naming import Called
from .options import OutputFlags
from .render import amount, stderr, stdout

_USUAL = "Q4_0"
_ROWS = (1, 2, 3, 4, 8, 16)
"""Numbers of rows that are shown."""
_VERIFIED, _FAST = 4, 1.6
"""A type verifies fast if a batch of 4 rows costs less than 1.6 times that of one."""


def add_to(app: typer.Typer) -> None:
    """Registers the command."""
    app.command()(quantize)


@command
def quantize(
    source: Annotated[StrPath, typer.Argument(help="GGUF to read.", metavar="SOURCE")],
    output: OutputFlags,
    destination: Annotated[
        Path | None,
        typer.Argument(help="GGUF to write.", metavar="DESTINATION", show_default=False),
    ] = None,
    kind: Annotated[
        str | None,
        typer.Option(
            "--type",
            help=f"Of the weights, {_USUAL} unless given: {', '.join(_core.quantization_types())}.",
            metavar="T",
            show_default=False,
        ),
    ] = None,
    compare: Annotated[
        str | None,
        typer.Option(
            help="Measure these types, separated by commas, and write none of them.",
            metavar="T,T,...",
            show_default=False,
        ),
    ] = None,
    n_threads: Annotated[
        int | None,
        typer.Option("-t", "--threads", help="Threads; all cores unless given.", min=1),
    ] = None,
    allow_requantize: Annotated[
        bool,
        typer.Option(
            "--allow-requantize", help="Accept a source that is quantised already, at some loss."
        ),
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Replace the destination."), Called("overwrite=True")
    ] = False,
    no_measure: Annotated[
        bool,
        typer.Option("--no-measure", help="Do not measure how fast the result verifies here."),
    ] = False,
) -> None:
    """Write a model again with weights of another type, and measure how fast that type verifies.

    What is measured is a batch of several tokens against a batch of one: drafting pays where four
    tokens are verified in little more than the time of one. Keep the machine quiet meanwhile.

    Example: rewardshift quantize big-f16.gguf --compare Q4_0,Q4_K_M,Q8_0
    """
    output.set_up_log()
    job = _Job(source, n_threads, allow_requantize=allow_requantize)
    if compare is not None:
        given = {
            "destination": destination is not None,
            "--type": kind is not None,
            "--force": force,
            "--no-measure": no_measure,
        }
        for what in (what for what, is_given in given.items() if is_given):
            raise ValueError(f"--compare measures types and writes nothing: it takes no {what}")
        results = job.compare([type_named(name.strip()) for name in compare.split(",")])
    elif destination is None:
        raise ValueError("there is no destination; --compare needs none, and measures types")
    else:
        results = [
            job.write(
                destination,
                type_named(_USUAL if kind is None else kind),
                overwrite=force,
                measure=not no_measure,
            )
        ]
    if output.json:
        print_json({"types": [result.as_object() for result in results]})
        return
    if destination is not None:
        result = results[0]
        stdout().print(f"{destination}: {result.kind}, {amount(result.size, 'B')}", soft_wrap=True)
    if any(result.costs for result in results):
        _show(results)


@dataclass(frozen=True)
class _Result:
    """A quantised model.

    Attributes:
        kind: The type of its weights.
        size: Bytes of the file.
        costs: Seconds for a batch of 1, 2, ... rows; empty if they were not measured.
    """

    kind: str
    size: int
    costs: tuple[float, ...]

    def relative(self, rows: int) -> float:
        """What a batch of so many rows costs, in batches of one."""
        return self.costs[rows - 1] / self.costs[0]

    @property
    def verifies_fast(self) -> bool:
        return self.relative(_VERIFIED) < _FAST

    def as_object(self) -> dict[str, object]:
        measured = {"seconds_by_rows": self.costs, "verifies_fast": self.verifies_fast}
        return {"type": self.kind, "bytes": self.size, **(measured if self.costs else {})}


@dataclass(frozen=True)
class _Job:
    """What to quantise, and how."""

    source: StrPath
    n_threads: int | None
    allow_requantize: bool

    def write(self, path: Path, kind: str, *, overwrite: bool, measure: bool) -> _Result:
        write_quantised(
            self.source,
            path,
            kind,
            n_threads=self.n_threads,
            allow_requantize=self.allow_requantize,
            overwrite=overwrite,
        )
        costs: tuple[float, ...] = ()
        if measure:
            # A spinner that turns quickly would be measured too.
            with stderr().status(f"measuring {kind}", refresh_per_second=1):
                costs = measure_costs(path, most_rows=_ROWS[-1], n_threads=self.n_threads or 0)
        return _Result(kind, path.stat().st_size, costs)

    def compare(self, kinds: list[str]) -> list[_Result]:
        """Measures one type after another, with room for one file."""
        local_path(self.source)  # fetched before the first bar, and once
        cache_root().mkdir(parents=True, exist_ok=True)
        results = []
        for kind in kinds:
            with tempfile.TemporaryDirectory(dir=cache_root(), prefix="compare-") as folder:
                path = Path(folder) / f"{kind}.gguf"
                results.append(self.write(path, kind, overwrite=False, measure=True))
        return results


def _show(results: list[_Result]) -> None:
    console = stdout()
    console.print()
    console.print(_table(results))
    console.print()
    console.print(_verdict(results))


def _table(results: Iterable[_Result]) -> Table:
    """Sizes, and costs by rows."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("type", no_wrap=True)
    table.add_column("size", justify="right", no_wrap=True)
    table.add_column("1 row", justify="right", no_wrap=True)
    for rows in _ROWS[1:]:
        table.add_column(f"{rows} rows", justify="right", no_wrap=True)
    table.add_column("verifies", no_wrap=True)
    for result in results:
        table.add_row(
            result.kind,
            amount(result.size, "B"),
            f"{1000 * result.costs[0]:.3g} ms",
            *(f"× {result.relative(rows):.2f}" for rows in _ROWS[1:]),
            Text("fast", "green") if result.verifies_fast else Text("slowly", "yellow"),
        )
    return table


def _verdict(results: list[_Result]) -> str:
    """What to make of the table."""
    rule = f"fast: {_VERIFIED} rows cost less than {_FAST} times one row, measured on this machine"
    if len(results) == 1:
        return rule
    quickest = min(results, key=lambda result: result.costs[_VERIFIED - 1])
    return f"{rule}. {quickest.kind} verifies {_VERIFIED} rows in the least time."
