"""Speed of SmolLM2 alone, and with busy processes beside it, in turns.

python benchmarks/contention.py
python benchmarks/contention.py --busy 4 -m big.gguf -md small.gguf
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from rewardshift import Decoder
from rewardshift.bench import (
    PROMPTS,
    Range,
    Sample,
    Task,
    endless,
    interleave,
    one_by_one,
    ratios,
    table,
)
from rewardshift.cli.render import stdout
from rewardshift.models import smollm2, smollm2_q4_0

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rewardshift.options import SamplingOptions


def main() -> None:
    """Prints tokens/s alone and in company, and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-m", "--target", type=Path)
    parser.add_argument("-md", "--draft", type=Path)
    parser.add_argument("--busy", type=int, default=2, help="processes that compute beside it")
    parser.add_argument("--tokens", type=int, default=64, help="per answer")
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("-t", "--threads", type=int)
    options = parser.parse_args()

    target = options.target or smollm2()
    draft = options.draft or smollm2_q4_0()
    threads = {} if options.threads is None else {"n_threads": options.threads}
    with Decoder(target, draft, n_ctx=1024, **threads) as decoder:
        tasks = [Task(decoder.tokenize(prompt)) for prompt in PROMPTS[:2]]
        common: SamplingOptions = {
            "strength": 0.0,
            "max_tokens": options.tokens,
            "logit_bias": endless(decoder),
        }
        ways = {
            "target only": {**common, "num_draft_tokens": 0},
            "lossless, adaptive": {**common, "num_draft_tokens": None},
        }
        runs = {}
        for name, way in ways.items():
            alone = partial(one_by_one, decoder, tasks, way)
            runs[name, False] = alone
            runs[name, True] = partial(beside, options.busy, alone)
        samples = interleave(runs, repeat=options.repeat, what="contention")
    rows = [row(name, samples[name, False], samples[name, True]) for name in ways]
    heads = ["way", "alone, tokens/s", "beside, tokens/s", "÷ alone"]
    note = "Prompts included; median (range), ratios by repetition."
    cores = len(os.sched_getaffinity(0))
    title = f"{options.busy} busy processes on {cores} cores"
    stdout().print(table(title, heads, rows, note=note))


def row(name: str, alone: list[Sample], company: list[Sample]) -> list[str]:
    """A line of the table."""
    fast = [sample.throughput for sample in alone]
    slow = [sample.throughput for sample in company]
    gain = Range.of(ratios(slow, fast))
    return [name, f"{Range.of(fast):.3g}", f"{Range.of(slow):.3g}", f"{gain:.2f}"]


def beside(count: int, run: partial[Sample]) -> Sample:
    """Runs while ``count`` other processes compute."""
    with busy(count):
        return run()


@contextmanager
def busy(count: int) -> Iterator[None]:
    """Processes that do nothing but compute."""
    spin = "print(flush=True)\nwhile True: pass"
    others = [
        subprocess.Popen([sys.executable, "-c", spin], stdout=subprocess.PIPE) for _ in range(count)
    ]
    try:
        for other in others:
            other.stdout.readline()  # it is under way
        yield
    finally:
        for other in others:
            other.kill()
            other.wait()
            other.stdout.close()


if __name__ == "__main__":
    main()
