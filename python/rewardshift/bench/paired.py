"""Two ways of decoding side by side, at several settings: what the second gains over the first."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from .interleave import interleave
from .sample import Sample
from .spread import Range, ratios
from .table import table

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from rich.table import Table

    Run = Callable[[], Sample]

_NOTE = (
    "Decoding after the first chunk, tokens/s; median (range), ratios by repetition. Accepted: "
    "share of the drafted tokens. A round: tokens for one evaluation of the target."
)


@dataclass(frozen=True, slots=True)
class PairedReport:
    """What two ways took.

    Attributes:
        title: What was decoded.
        ways: Their names.
        samples: One a repetition, of the first way and of the second, by setting.
    """

    title: str
    ways: tuple[str, str]
    samples: dict[str, tuple[list[Sample], list[Sample]]]

    def gain(self, setting: str) -> Range:
        """How many times as fast the second way is, compared repetition by repetition."""
        first, second = self.samples[setting]
        return Range.of(ratios([s.speed for s in second], [s.speed for s in first]))

    def tables(self) -> list[Table]:
        """A row for each setting."""
        heads = ["setting", *self.ways, "gain", "accepted", "a round"]
        rows = [
            [
                setting,
                *(f"{Range.of([s.speed for s in samples]):.3g}" for samples in both),
                f"{self.gain(setting):.2f}",
                _both([Sample.total(samples).acceptance for samples in both]),
                _both([Sample.total(samples).tokens_per_round for samples in both]),
            ]
            for setting, both in self.samples.items()
        ]
        return [table(self.title, heads, rows, note=_NOTE)]

    def as_object(self) -> dict[str, object]:
        """Every sample, and the ratios that follow from them."""
        return {
            "title": self.title,
            "ways": list(self.ways),
            "settings": {
                setting: {
                    "gain": asdict(self.gain(setting)),
                    "samples": [[asdict(s) for s in samples] for samples in both],
                    "acceptance": [Sample.total(samples).acceptance for samples in both],
                    "tokens_per_round": [
                        Sample.total(samples).tokens_per_round for samples in both
                    ],
                }
                for setting, both in self.samples.items()
            },
        }


def measure_pairs(
    title: str, ways: tuple[str, str], runs: Mapping[str, tuple[Run, Run]], *, repeat: int
) -> PairedReport:
    """Runs two ways in turns.

    Args:
        title: What is decoded.
        ways: The names of the two.
        runs: Both, by setting.
        repeat: Samples of each that count.

    Raises:
        ValueError: If ``repeat`` is less than 1.
    """
    flat = {(name, way): runs[name][way] for name in runs for way in (0, 1)}
    found = interleave(
        {f"{name} {way}": run for (name, way), run in flat.items()}, repeat=repeat, what=title
    )
    samples = {name: (found[f"{name} 0"], found[f"{name} 1"]) for name in runs}
    return PairedReport(title, ways, samples)


def _both(values: list[float]) -> str:
    return " → ".join("" if math.isnan(value) else f"{value:.3f}" for value in values)
