"""GB/s of the loops over the vocabulary, against a copy of as many bytes in the same run.

Bytes are those of the arrays that a loop is given and returns, each counted once; on one thread, as
in decoding. Called through the bindings, what returns arrays also allocates and clears them, which
the engine does not do.

    python benchmarks/vocabulary.py
"""

from __future__ import annotations

import argparse
import math
from functools import partial
from time import perf_counter
from typing import TYPE_CHECKING

import numpy as np

from rewardshift import _core
from rewardshift.bench import Range, interleave, ratios, table
from rewardshift.cli.render import stdout

if TYPE_CHECKING:
    from collections.abc import Callable

SIZES = (49_152, 151_936)  # SmolLM2's and Qwen2.5's vocabularies
SECONDS = 0.02  # long enough for the clock


def main() -> None:
    """A table for each vocabulary."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    parser.add_argument("--repeat", type=int, default=15)
    options = parser.parse_args()
    for size in options.sizes:
        loops = loops_over(size)
        runs = {}
        for name, (count, loop) in loops.items():
            runs[name] = partial(gigabytes_per_second, count, loop)
            runs[f"copy for {name}"] = partial(gigabytes_per_second, count, copy_of(count))
        rates = interleave(runs, repeat=options.repeat, what=f"{size} tokens")
        rows = []
        for name, (count, _) in loops.items():
            copies = rates[f"copy for {name}"]
            rows.append(
                [
                    name,
                    f"{count / 1e6:.2f}",
                    f"{count / Range.of(rates[name]).median / 1e3:.0f}",
                    f"{Range.of(rates[name]):.1f}",
                    f"{Range.of(copies):.1f}",
                    f"{Range.of(ratios(rates[name], copies)):.2f}",
                ]
            )
        heads = ["loop", "MB", "µs", "GB/s", "copy, GB/s", "÷ copy"]
        stdout().print(table(f"{size} tokens", heads, rows, note="Median (range), in turns."))
        stdout().print()


def loops_over(size: int) -> dict[str, tuple[int, Callable[[], object]]]:
    """Bytes and call of each loop, on a sharp goal and a proposal near it, as in decoding."""
    random = np.random.default_rng(0)
    target, draft, reference, noise = (
        (3.0 * random.standard_normal(size)).astype(np.float32) for _ in range(4)
    )
    terms = [(target, 1.0), (draft, 1.0), (reference, -1.0)]
    near = [(target + 0.1 * noise, 1.0), *terms[1:]]
    goal, proposal = _core.goal(terms).weights, _core.goal(near).weights
    unlikely = int(np.argmin(goal.of / np.maximum(proposal.of, 1e-30)))
    normaliser = _core.goal(terms).normalisers[0][0]
    last = math.nextafter(1.0, 0.0)
    floats = target.nbytes
    block = ([unlikely] * 3, [goal] * 3, [proposal] * 3, [last] * 3, [last] * 3)
    return {
        "goal, three models": (4 * floats, lambda: _core.goal(terms, temperature=0.8)),
        "goal, three models, at 1": (4 * floats, lambda: _core.goal(terms)),
        "goal, greedy": (4 * floats, lambda: _core.goal(terms, temperature=0.0)),
        "goal, target only": (2 * floats, lambda: _core.goal(terms[:1], temperature=0.8)),
        "proposal": (2 * floats, lambda: _core.shape(terms[:1], temperature=0.8)),
        "proposal, top_k and top_p": (
            2 * floats,
            lambda: _core.shape(terms[:1], temperature=0.8, top_k=40, top_p=0.95),
        ),
        "proposal, top_p": (
            2 * floats,
            lambda: _core.shape(terms[:1], temperature=0.8, top_p=0.95),
        ),
        "law": (4 * floats, lambda: _core.law(goal, proposal)),
        "its summary": (2 * floats, lambda: _core.summarise_law(goal, proposal, 1.0, 0)),
        "entropy": (floats, lambda: _core.entropy(target, normaliser)),
        "decide, rejected": (
            2 * floats,
            lambda: _core.decide(unlikely, goal, proposal, 1.0, last, last),
        ),
        "decide, block of 3 rejected": (6 * floats, lambda: _core.decide_block(*block)),
        "sample, last token": (floats, lambda: _core.sample(goal, last)),
        "ten most probable": (floats, lambda: _core.most_probable(goal, 10)),
    }


def copy_of(count: int) -> Callable[[], object]:
    """Copies half as many bytes: each is read and written."""
    source = np.ones(count // 2, dtype=np.uint8)
    destination = np.empty_like(source)
    return lambda: np.copyto(destination, source)


def gigabytes_per_second(count: int, loop: Callable[[], object]) -> float:
    """10⁹ bytes a second of a loop that touches ``count``."""
    calls, seconds = 0, 0.0
    start = perf_counter()
    while seconds < SECONDS:
        loop()
        calls += 1
        seconds = perf_counter() - start
    return calls * count / seconds / 1e9


if __name__ == "__main__":
    main()
