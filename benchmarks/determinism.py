"""What it costs that a seed fixes the text: requests that are apart, and the same that share.

python benchmarks/determinism.py
python benchmarks/determinism.py -m big.gguf --batch 16
"""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from rewardshift import Decoder
from rewardshift.bench import (
    Range,
    Sample,
    Task,
    endless,
    interleave,
    one_by_one,
    ratios,
    table,
    together,
)
from rewardshift.bench.workload import PROMPTS
from rewardshift.chat.turns import prompt_tokens
from rewardshift.cli.render import stdout
from rewardshift.embedded import embedded
from rewardshift.options import target_only

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rewardshift.options import SamplingOptions

    Run = Callable[[Decoder, Sequence[Task], SamplingOptions], Sample]

LONG = "The quick brown fox jumps over the lazy dog, and then it goes home to rest. "


def main() -> None:
    """Prints tokens/s of what is apart and of what shares, and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-m", "--target", type=Path, help="the embedded pair's target unless given")
    parser.add_argument("--batch", type=int, default=8, help="requests of a batch")
    parser.add_argument("--tokens", type=int, default=64, help="per answer")
    parser.add_argument("--repeat", type=int, default=5)
    options = parser.parse_args()
    with Decoder(options.target or embedded()["target"]) as decoder:
        asked = [Task(prompt_tokens(decoder, text)) for text in PROMPTS[: options.batch]]
        story = Task(decoder.tokenize(LONG * 100)[:1500])
        works: dict[str, tuple[Run, Sequence[Task]]] = {
            "3 answers, one after another": (one_by_one, asked[:3]),
            "2 answers to 1,500 tokens, read once": (one_by_one, [story] * 2),
            f"a batch of {options.batch}": (together, asked),
        }
        rows = [
            row(name, measure(decoder, run, tasks, options.tokens, options.repeat))
            for name, (run, tasks) in works.items()
        ]
    heads = ["work", "shares", "apart", "apart ÷ shares"]
    note = "Tokens a second, prompts included. Median (range), ratios by repetition."
    title = f"seeded requests of {options.tokens} tokens, which the target decodes alone"
    stdout().print(table(title, heads, rows, note=note))


def measure(
    decoder: Decoder, run: Run, tasks: Sequence[Task], tokens: int, repeat: int
) -> dict[str, list[Sample]]:
    """Samples of both ways, in turns, each with what it remembers dropped before it."""

    def way(*, deterministic: bool) -> Sample:
        decoder.forget()
        return run(
            decoder,
            tasks,
            # Drafts would make the work depend on what is said, which rounding changes.
            target_only(
                seed=1,
                deterministic=deterministic,
                max_tokens=tokens,
                logit_bias=endless(decoder),
            ),
        )

    ways = {"shares": partial(way, deterministic=False), "apart": partial(way, deterministic=True)}
    return interleave(ways, repeat=repeat, what="determinism")


def row(name: str, samples: dict[str, list[Sample]]) -> list[str]:
    """A line of the table."""
    speeds = {way: [sample.tokens / sample.seconds for sample in samples[way]] for way in samples}
    return [
        name,
        *(f"{Range.of(speeds[way]):.1f}" for way in ("shares", "apart")),
        f"{Range.of(ratios(speeds['apart'], speeds['shares'])):.2f}",
    ]


if __name__ == "__main__":
    main()
