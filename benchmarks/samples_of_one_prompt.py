"""Many samples of one prompt: separate calls, one batch, and drafts from what the others said.

python benchmarks/samples_of_one_prompt.py
python benchmarks/samples_of_one_prompt.py --samples 16 --strength 1
python benchmarks/samples_of_one_prompt.py -m big.gguf --samples 8 --prompt "$(cat long.txt)"
"""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from rewardshift import Decoder, NgramTable
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
from rewardshift.chat.turns import prompt_tokens
from rewardshift.cli.render import stdout
from rewardshift.embedded import default_roles
from rewardshift.evaluate import evaluation_prompts

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rewardshift.options import SamplingOptions

    Run = Callable[[Decoder, Sequence[Task], SamplingOptions], Sample]

CALLS, KEPT, BATCH = "separate calls", "  prompt kept", "one batch"
TREES: dict[str, SamplingOptions] = {
    "chains of 3": {"num_draft_tokens": 3},
    "trees of 7": {"num_draft_tokens": 7, "tree_width": 4},
    "what pays": {"tree_width": 4},
}


def main() -> None:
    """Prints tokens/s of all samples, and their ratios to separate and to batched plain ones."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-m", "--target", type=Path, help="the embedded pair's unless given")
    parser.add_argument("--samples", type=int, default=16)
    parser.add_argument("--prompt", help="an evaluation prompt unless given")
    parser.add_argument("--strength", type=float, default=0.0, help="of the embedded pair's shift")
    parser.add_argument("--tokens", type=int, default=64, help="per sample")
    parser.add_argument("--repeat", type=int, default=3)
    options = parser.parse_args()
    if options.target is not None and options.strength:
        parser.error("--strength needs a pair: leave out -m")

    roles = {"target": options.target} if options.target else default_roles()
    if not options.strength:
        roles = {"target": roles["target"]}
    text = options.prompt or evaluation_prompts("held_out")[0].prompt
    room = {  # no more cells than are used: every row attends over all of them
        "n_ctx": len(text.encode()) + (options.samples + 2) * (options.tokens + 64),
        "n_seq_max": 4 * options.samples + 1,
    }
    with Decoder(**roles, **room) as decoder:
        prompt = prompt_tokens(decoder, text)
        common: SamplingOptions = {
            "strength": options.strength,
            "max_tokens": options.tokens,
            "logit_bias": endless(decoder),
        }
        ways = {
            name: partial(run, decoder, [Task(prompt)] * options.samples)
            for name, run in all_ways(common).items()
        }
        samples = interleave(ways, repeat=options.repeat, what="samples of one prompt")
    heads = ["way", "tokens/s", "÷ calls", "÷ batch", "a round", "accepted"]
    note = (
        "Prompts included, evaluated by each separate call and once for a batch. "
        "Median (range), ratios by repetition."
    )
    title = f"{options.samples} samples of a prompt of {len(prompt)} tokens, {options.tokens} each"
    rows = [row(name, samples) for name in samples]
    stdout().print(table(title, heads, rows, note=note))


def all_ways(common: SamplingOptions) -> dict[str, Callable[[Decoder, Sequence[Task]], Sample]]:
    """The ways to take samples, by name."""

    def way(run: Run, **more: object) -> Callable[[Decoder, Sequence[Task]], Sample]:
        return lambda decoder, tasks: run(decoder, tasks, {**common, **more})

    plain = {"num_draft_tokens": 0}
    return {
        CALLS: way(anew, **plain),
        KEPT: way(in_turn, **plain),
        BATCH: way(batch, **plain),
        **{f"STAND in turn, {name}": way(stand(in_turn), **o) for name, o in TREES.items()},
        **{f"STAND in a batch, {name}": way(stand(batch), **o) for name, o in TREES.items()},
    }


def anew(decoder: Decoder, tasks: Sequence[Task], options: SamplingOptions) -> Sample:
    """One after another, each with its prompt to evaluate."""
    parts = []
    for task in tasks:
        decoder.forget()
        parts.append(one_by_one(decoder, [task], options))
    return Sample.total(parts)


def in_turn(decoder: Decoder, tasks: Sequence[Task], options: SamplingOptions) -> Sample:
    """One after another, after a prompt that is evaluated once."""
    decoder.forget()
    return one_by_one(decoder, tasks, options)


def batch(decoder: Decoder, tasks: Sequence[Task], options: SamplingOptions) -> Sample:
    """All at once, after a prompt that is evaluated once."""
    decoder.forget()
    return together(decoder, tasks, options)


def stand(run: Run) -> Run:
    """With a table that all of them share, empty at first."""
    return lambda decoder, tasks, options: run(decoder, tasks, {**options, "drafter": NgramTable()})


def row(name: str, samples: dict[str, list[Sample]]) -> list[str]:
    """A line of the table."""
    speeds = {way: [s.throughput for s in samples[way]] for way in (name, CALLS, BATCH)}
    total = Sample.total(samples[name])
    return [
        name,
        f"{Range.of(speeds[name]):.3g}",
        *(f"{Range.of(ratios(speeds[name], speeds[base])):.2f}" for base in (CALLS, BATCH)),
        f"{total.tokens_per_round:.2f}",
        f"{total.acceptance:.2f}" if total.drafted else "",
    ]


if __name__ == "__main__":
    main()
