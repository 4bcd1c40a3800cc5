"""What a shift of another vocabulary costs: plain and aligned decoding in turns, nothing drafted.

    python benchmarks/foreign.py -m qwen2.5-1.5b-instruct-q4_0.gguf
    python benchmarks/foreign.py -m qwen2.5-1.5b-instruct-q4_0.gguf --shift my-dial --strength 1.5
    python benchmarks/foreign.py -m qwen2.5-1.5b-instruct-q4_0.gguf \\
        --reference trimmed.gguf --draft-lora aligned.gguf

Three tables: how long the map between the vocabularies takes to build; what a row costs a reader by
itself, seen through the map, and refined; and tokens/s, with the milliseconds that a token took in
each model and in our own code.
"""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

import numpy as np

from rewardshift import Decoder, Shift, _core
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
from rewardshift.loading.vocabularies import map_between

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rewardshift.options import SamplingOptions


def main() -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-m", "--target", type=Path, required=True)
    parser.add_argument("--shift", default="positive", help="a dial")
    parser.add_argument("--reference", type=Path, help="in place of the dial, with --draft-lora")
    parser.add_argument("--draft-lora", type=Path)
    parser.add_argument("--strength", type=float, help="the dial's own unless given")
    parser.add_argument("--tokens", type=int, default=64, help="per answer")
    parser.add_argument("--num-prompts", type=int, default=2)
    parser.add_argument("--repeat", type=int, default=7)
    parser.add_argument("-t", "--threads", type=int)
    options = parser.parse_args()
    threads = {} if options.threads is None else {"n_threads": options.threads}
    shift = options.shift
    if options.reference is not None:
        shift = Shift(reference=options.reference, lora=options.draft_lora)
    with Decoder(options.target, shift=shift, n_ctx=2048, **threads) as decoder:
        mapped = decoder._engine.models["reference"]
        if not isinstance(mapped, _core.MappedModel):
            parser.error(f"{shift} has the target's own vocabulary: nothing is mapped")
        known = map_between(decoder._models["target"], decoder._models["reference"])
        print_map(decoder, known, options.repeat)
        print_rows(decoder, mapped, known, options.repeat)
        print_speeds(decoder, options)


def seconds(work: Callable[[], object]) -> float:
    """Wall time of a call."""
    start = perf_counter()
    work()
    return perf_counter() - start


def print_map(decoder: Decoder, known: _core.VocabularyMap, repeat: int) -> None:
    """What the map covers, and how long it takes to build."""
    models = decoder._models["target"], decoder._models["reference"]
    taken = [1e3 * seconds(partial(map_between, *models)) for _ in range(repeat)]
    heads = ["target's tokens", "reader's", "twins", "to build, ms"]
    sizes = [f"{model.facts.vocab_size:,}" for model in models]
    row = [*sizes, f"{known.share:.1%}", f"{Range.of(taken):.0f}"]
    stdout().print(table("the map", heads, [row]))


def print_rows(
    decoder: Decoder, mapped: _core.MappedModel, known: _core.VocabularyMap, repeat: int
) -> None:
    """What one more row costs the reference, and which rows of an answer are refined."""
    prompt = decoder.chat_prompts([{"role": "user", "content": PROMPTS[0]}])[0]
    seen = prompt.seen_by("reference")
    answer = decoder.generate(prompt, max_tokens=96, seed=0).tokens
    likely = likely_tokens(decoder, [*prompt, *answer[:-1]], len(answer))
    refined = [[t for t in some if len(known.pieces(t)) > 1] for some in likely]
    own = decoder._contexts.own("reference")  # type: ignore[union-attr]
    text = own_tokens(decoder, answer)
    ways: dict[str, list[Callable[[], object]]] = {
        "by itself": [
            partial(own.logits, [(0, [1, *text[: i + 1]], 1)]) for i in range(len(text) - 1)
        ],
        "through the map": [
            partial(mapped.logits, [(0, [*seen, *answer[: i + 1]], 1)])
            for i in range(len(answer) - 1)
        ],
    }
    runs = {name: partial(microseconds, calls) for name, calls in ways.items()}
    runs["refined, more"] = partial(refining, mapped, [*seen], answer, refined)
    found = interleave(runs, repeat=repeat, what="rows")
    rows = [[name, f"{Range.of(values):.0f}"] for name, values in found.items()]
    share = sum(map(bool, refined)) / len(refined)
    note = f"{share:.0%} of the answer's rows are refined. Each a median over the answer."
    stdout().print(table("a row of the reference", ["", "µs"], rows, note=note))


def microseconds(calls: Sequence[Callable[[], object]]) -> float:
    """The median of calls one after another."""
    return 1e6 * float(np.median([seconds(call) for call in calls]))


def refining(
    mapped: _core.MappedModel,
    seen: list[int],
    answer: Sequence[int],
    refined: Sequence[Sequence[int]],
) -> float:
    """What refining takes beyond the row, where there is something to refine."""
    taken = []
    for i, likely in enumerate(refined):
        if not likely:
            continue
        history = [*seen, *answer[:i]]
        mapped.logits([(0, history, 1)])
        taken.append(seconds(partial(mapped.refine, [(0, history, list(likely))])))
    return 1e6 * float(np.median(taken)) if taken else float("nan")


def own_tokens(decoder: Decoder, answer: Sequence[int]) -> list[int]:
    """An answer as the reference's own tokens."""
    text = decoder.detokenize(answer)
    return list(decoder._models["reference"].tokenize(text, False, False))


def likely_tokens(decoder: Decoder, history: list[int], n_rows: int) -> list[list[int]]:
    """The tokens that the law refines where it can, for each of the last rows."""
    law = _core.DecoderOptions()
    rows = decoder._engine.models["target"].logits([(0, history, n_rows)])
    found = []
    for row in np.asarray(rows, dtype=np.float64)[:, : decoder.vocab_size]:
        weights = np.exp(row - row.max())
        first = np.argsort(-row, kind="stable")[: law.refined_tokens]
        found.append(first[weights[first] >= law.refined_share * weights.sum()].tolist())
    return found


def print_speeds(decoder: Decoder, options: argparse.Namespace) -> None:
    """Tokens/s of the target alone and of the shifted one, and where the time went."""
    tasks = []
    for text in PROMPTS[: options.num_prompts]:
        prompt, by_draft = decoder.chat_prompts_by_shift([{"role": "user", "content": text}])
        tasks.append(Task(prompt, by_draft or None))
    common: SamplingOptions = {
        "max_tokens": options.tokens,
        "num_draft_tokens": 0,
        "logit_bias": endless(decoder),
    }
    aligned: SamplingOptions = {**common, "strength": options.strength}
    ways: dict[str, SamplingOptions] = {"target": {**common, "strength": 0.0}, "aligned": aligned}
    runs = {name: partial(one_by_one, decoder, tasks, way) for name, way in ways.items()}
    samples = interleave(runs, repeat=options.repeat, what="speeds")
    plain = [s.speed for s in samples["target"]]
    heads = ["", "tokens/s", "÷ target", "target", "draft", "reference", "own code"]
    note = "Median (range) after the first chunk. On the right ms a token, prompts included."
    rows = [speed_row(name, found, plain) for name, found in samples.items()]
    stdout().print(table("nothing drafted", heads, rows, note=note))


def speed_row(name: str, found: list[Sample], plain: list[float]) -> list[str]:
    """A line of the last table."""
    speeds = [s.speed for s in found]
    total = Sample.total(found)
    parts = (total.target, total.draft, total.reference, total.own)
    return [
        name,
        f"{Range.of(speeds):.4g}",
        f"{Range.of(ratios(speeds, plain)):.3f}",
        *(f"{1e3 * part / total.tokens:.2f}" for part in parts),
    ]


if __name__ == "__main__":
    main()
