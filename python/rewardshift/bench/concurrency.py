"""How much faster several requests are together than one after another."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING

from .interleave import interleave
from .sample import Sample, together
from .spread import Range, ratios
from .table import table
from .workload import endless

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from rich.table import Table

    from rewardshift.decoder import Decoder
    from rewardshift.options import SamplingOptions

    from .sample import Task


@dataclass(frozen=True, slots=True)
class ConcurrencyReport:
    """The same requests, decoded so many at once.

    Attributes:
        samples: One a repetition, by way and number of concurrent requests.
        requests: How many there were in each sample.
    """

    samples: dict[str, dict[int, list[Sample]]]
    requests: int

    def throughput(self, way: str, count: int) -> Range:
        """Tokens per second of all requests together, prompts included."""
        return Range.of(self._throughputs(way, count))

    def gain(self, way: str, count: int) -> Range:
        """Over the smallest number of concurrent requests, which usually is one."""
        base = self._throughputs(way, min(self.samples[way]))
        return Range.of(ratios(self._throughputs(way, count), base))

    def tables(self) -> list[Table]:
        """One row for each way and number of concurrent requests."""
        rows = [
            [
                way,
                str(count),
                f"{self.throughput(way, count):.3g}",
                f"{self.gain(way, count):.2f}",
                f"{Range.of([sample.model_share for sample in samples]):.3f}",
            ]
            for way, by_count in self.samples.items()
            for count, samples in by_count.items()
        ]
        fewest = min(min(by_count) for by_count in self.samples.values())
        heads = ["way", "at once", "tokens/s", f"÷ {fewest} at once", "model/wall"]
        note = f"The same {self.requests} requests each time, prompts included; median (range)."
        return [table("concurrent requests", heads, rows, note=note)]

    def as_object(self) -> dict[str, object]:
        """Every sample, and the ratios that follow from them."""
        return {
            "requests": self.requests,
            "ways": {
                way: {
                    str(count): {
                        "throughput": asdict(self.throughput(way, count)),
                        "gain": asdict(self.gain(way, count)),
                        "samples": [asdict(sample) for sample in samples],
                    }
                    for count, samples in by_count.items()
                }
                for way, by_count in self.samples.items()
            },
        }

    def _throughputs(self, way: str, count: int) -> list[float]:
        return [sample.throughput for sample in self.samples[way][count]]


def measure_concurrency(
    decoder: Decoder,
    tasks: Sequence[Task],
    *,
    ways: Mapping[str, SamplingOptions],
    counts: Sequence[int],
    max_tokens: int,
    repeat: int,
) -> ConcurrencyReport:
    """Decodes the same tasks with different numbers of them at once, in turns.

    Args:
        decoder: Whose context holds the largest number of them.
        tasks: At least as many as the largest count; all are decoded each time.
        ways: Options by name.
        counts: Numbers of concurrent requests.
        max_tokens: Of each response; none ends before.
        repeat: Samples of each way and count.

    Raises:
        ValueError: If a count is not between 1 and the number of tasks.
    """
    for count in counts:
        if not 1 <= count <= len(tasks):
            raise ValueError(f"{count} at once is not between 1 and the {len(tasks)} prompts")
    runs: dict[str, Callable[[], Sample]] = {}
    for name, way in ways.items():
        options: SamplingOptions = {
            **way,
            "max_tokens": max_tokens,
            "logit_bias": endless(decoder),
        }
        for count in counts:
            runs[f"{name} {count}"] = partial(_in_groups, decoder, tasks, count, options)
    results = interleave(runs, repeat=repeat, what="concurrent requests")
    samples = {name: {count: results[f"{name} {count}"] for count in counts} for name in ways}
    return ConcurrencyReport(samples, len(tasks))


def _in_groups(
    decoder: Decoder, tasks: Sequence[Task], count: int, options: SamplingOptions
) -> Sample:
    groups = (tasks[i : i + count] for i in range(0, len(tasks), count))
    return Sample.total(together(decoder, group, options) for group in groups)
