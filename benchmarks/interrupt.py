"""How long Ctrl-C takes to end an evaluation, from the signal to KeyboardInterrupt.

Signals come at random times into the prefill of a long prompt (SmolLM2-135M alone), and into
drafting and verifying (with its Q4_0 re-quantisation as draft and reference). Prints the median,
the range and the 95th percentile.

    python benchmarks/interrupt.py
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import signal
import statistics
import threading
import time
from typing import TYPE_CHECKING

from rewardshift import Decoder
from rewardshift.models import smollm2, smollm2_q4_0

if TYPE_CHECKING:
    from collections.abc import Callable


def main() -> None:
    """Prints all measurements."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tokens", type=int, default=4000, help="of the long prompt")
    parser.add_argument("--repeat", type=int, default=20)
    parser.add_argument("--threads", type=int, default=0, help="0 is one per core")
    options = parser.parse_args()
    random.seed(0)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where a shell forks it off
    with Decoder(smollm2(), n_ctx=options.tokens + 512, n_threads=options.threads) as decoder:
        text = decoder.tokenize("The quick brown fox jumps over the lazy dog. " * options.tokens)

        def prefill() -> None:
            first = random.randrange(1000, 2000)  # no part of the last prompt is known
            decoder.generate([first, *text[: options.tokens - 1]], max_tokens=1)

        print(f"prompt of {options.tokens} tokens: {spread(measure(prefill, options.repeat))}")

    small = smollm2_q4_0()
    with Decoder(smollm2(), small, small, n_ctx=1024, n_threads=options.threads) as decoder:

        def rounds() -> None:
            decoder.generate(text[:64], max_tokens=400, num_draft_tokens=16, seed=0)

        print(f"drafting and verifying: {spread(measure(rounds, options.repeat))}")


def measure(work: Callable[[], None], repeat: int) -> list[float]:
    """Seconds from the signal to KeyboardInterrupt, at random times into the work's beginning."""
    seconds: list[float] = []
    while len(seconds) < repeat:
        sent: list[float] = []

        def interrupt(sent: list[float] = sent) -> None:
            sent.append(time.perf_counter())
            os.kill(os.getpid(), signal.SIGINT)

        timer = threading.Timer(random.uniform(0.05, 2.0), interrupt)
        with contextlib.suppress(KeyboardInterrupt):
            timer.start()
            while True:
                work()
        seconds.append(time.perf_counter() - sent[0])
    return seconds


def spread(seconds: list[float]) -> str:
    """Median, range and 95th percentile in milliseconds."""
    ordered = sorted(1000 * s for s in seconds)
    late = ordered[min(len(ordered) - 1, int(0.95 * len(ordered)))]
    return (
        f"{statistics.median(ordered):.1f} ms [{ordered[0]:.1f}, {ordered[-1]:.1f}], "
        f"95% within {late:.1f} ms ({len(ordered)} signals)"
    )


if __name__ == "__main__":
    main()
