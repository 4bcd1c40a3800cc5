"""Ways to decode one request after another: how fast, and where the time goes."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING

from .interleave import interleave
from .sample import Sample, one_by_one
from .spread import Range, ratios
from .table import table
from .workload import endless

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rich.table import Table

    from rewardshift.decoder import Decoder
    from rewardshift.options import SamplingOptions

    from .sample import Task

TARGET_ONLY, THREE_MODELS, ADAPTIVE = "target only", "three models", "adaptive"


@dataclass(frozen=True, slots=True)
class SpeedReport:
    """What each way of decoding took.

    Attributes:
        title: What was decoded.
        samples: One a repetition, by the way's name.
        draft_lengths: Of the ways that have a fixed one, by name.
    """

    title: str
    samples: dict[str, list[Sample]]
    draft_lengths: dict[str, int]

    def speed(self, way: str) -> Range:
        """Tokens per second, without the prompts."""
        return Range.of(self._speeds(way))

    def ratio(self, way: str, base: str) -> Range:
        """How many times as fast as another one, compared repetition by repetition."""
        return Range.of(ratios(self._speeds(way), self._speeds(base)))

    def total(self, way: str) -> Sample:
        """All repetitions of a way as one."""
        return Sample.total(self.samples[way])

    @property
    def best_fixed(self) -> str | None:
        """The fixed draft length with the largest median speed; flattered by being the best."""
        return max(self.draft_lengths, key=lambda way: self.speed(way).median, default=None)

    def tables(self) -> list[Table]:
        """Speeds with their ratios, then where the time went."""
        return [self._speed_table(), self._time_table()]

    def as_object(self) -> dict[str, object]:
        """Every sample, and the ratios that follow from them."""
        return {
            "title": self.title,
            "best_fixed": self.best_fixed,
            "ways": {
                way: {
                    "draft_length": self.draft_lengths.get(way),
                    "speed": asdict(self.speed(way)),
                    "ratios": {base: asdict(self.ratio(way, base)) for base in self._bases},
                    "drafted_per_round": self.total(way).drafted_per_round,
                    "acceptance": self.total(way).acceptance,
                    "model_share": self.total(way).model_share,
                    "samples": [asdict(sample) for sample in samples],
                }
                for way, samples in self.samples.items()
            },
        }

    def _speeds(self, way: str) -> list[float]:
        return [sample.speed for sample in self.samples[way]]

    @property
    def _bases(self) -> list[str]:
        return [way for way in (TARGET_ONLY, THREE_MODELS, ADAPTIVE) if way in self.samples]

    def _speed_table(self) -> Table:
        rows = (
            [
                way + (" (best)" if way == self.best_fixed else ""),
                f"{self.speed(way):.3g}",
                *(f"{self.ratio(way, base):.2f}" for base in self._bases),
            ]
            for way in self.samples
        )
        heads = ["way", "tokens/s", *(f"÷ {base}" for base in self._bases)]
        return table(self.title, heads, rows, note=_SPEED_NOTE)

    def _time_table(self) -> Table:
        heads = ["way", "model/wall", "target", "draft", "ref.", "own", "rest"]
        heads += ["K mean", "accepted", "tok/round"]
        rows = ([way, *_time_cells(self.samples[way], self.total(way))] for way in self.samples)
        return table(f"{self.title}: where the time goes", heads, rows, note=_TIME_NOTE)


_SPEED_NOTE = "Decoding after the first chunk; median (range); ratios by repetition."
_TIME_NOTE = (
    "Shares of wall time, prompts included; rest: what neither the models nor the core account for."
)


def _time_cells(samples: Sequence[Sample], total: Sample) -> list[str]:
    parts = (total.target, total.draft, total.reference, total.own)
    shares = [part / total.seconds for part in parts]
    return [
        f"{Range.of([sample.model_share for sample in samples]):.3f}",
        *(f"{share:.1%}" for share in (*shares, 1 - math.fsum(shares))),
        f"{total.drafted_per_round:.2f}",
        _known(total.acceptance),
        f"{total.tokens_per_round:.2f}",
    ]


def _known(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.2f}"


def measure_speed(
    decoder: Decoder,
    tasks: Sequence[Task],
    *,
    title: str,
    shifted: bool,
    draft_lengths: Sequence[int],
    max_tokens: int,
    repeat: int,
    options: SamplingOptions | None = None,
) -> SpeedReport:
    """Decodes the tasks in every way, in turns; no text ends before ``max_tokens``.

    Args:
        decoder: With a draft; with a reference too where ``shifted``.
        tasks: Prompts; a sample is all of them.
        title: Of the report.
        shifted: Whether pi* is decoded (and, without drafts, all three models at every token), or
            the target, losslessly.
        draft_lengths: The fixed ones to try.
        max_tokens: Of each response.
        repeat: Samples of each way.
        options: Of every request. A seed would fix the draft length, so there is none.
    """
    common: SamplingOptions = {
        **(options or {}),
        "max_tokens": max_tokens,
        "logit_bias": endless(decoder),
    }
    lossless: SamplingOptions = {**common, "strength": 0.0, "rule": "exact"}
    goal = common if shifted else lossless
    fixed = {f"K={k}": k for k in draft_lengths}
    ways: dict[str, SamplingOptions] = {TARGET_ONLY: {**lossless, "num_draft_tokens": 0}}
    if shifted:
        ways[THREE_MODELS] = {**goal, "num_draft_tokens": 0}
    for name, k in fixed.items():
        ways[name] = {**goal, "num_draft_tokens": k}
    ways[ADAPTIVE] = {**goal, "num_draft_tokens": None}

    runs: dict[str, Callable[[], Sample]] = {
        name: partial(one_by_one, decoder, tasks, way) for name, way in ways.items()
    }
    return SpeedReport(title, interleave(runs, repeat=repeat, what=title), fixed)
