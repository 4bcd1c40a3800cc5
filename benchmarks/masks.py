"""What a mask costs: wall time of masked decoding beside the same decoding without one.

    python benchmarks/masks.py                                   # SmolLM2, 49 thousand tokens
    python benchmarks/masks.py -m qwen2.5-coder-1.5b-q4_0.gguf   # 152 thousand

Both ways decode as many tokens, alone or with drafts from the text itself, in turns. The grammars
allow text without end, so that no answer ends before the other. What a mask costs is beside what
the models cost: it matters most where they are small.
"""

from __future__ import annotations

import argparse
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from json_schemas import SCHEMAS

from rewardshift import Decoder, embedded
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
from rewardshift.chat.turns import prompt_tokens
from rewardshift.cli.render import stdout

if TYPE_CHECKING:
    from rewardshift.options import SamplingOptions


def long_array(of: str) -> dict[str, object]:
    """JSON that no answer comes to the end of."""
    schema = {"type": "array", "items": {"type": of}, "minItems": 1000}
    return {"type": "json_schema", "json_schema": {"schema": schema}}


FORMS: dict[str, SamplingOptions] = {
    "any text (regex)": {"regex": r"(?s:.)*"},
    "words (regex)": {"regex": r"([a-z]+ )*"},
    "JSON numbers": {"response_format": long_array("integer")},
    "JSON texts": {"response_format": long_array("string")},
}
"""None of them forces a token, which would cost no model anything."""


def main() -> None:
    """Prints what compiling costs, then tokens/s with and without each form."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-m", "--target", type=Path, help="the embedded pair's target unless given")
    parser.add_argument("--tokens", type=int, default=64, help="per answer")
    parser.add_argument("--num-prompts", type=int, default=4)
    parser.add_argument("-K", type=int, default=0, help="drafts a round, quoted from the text")
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("-t", "--threads", type=int)
    options = parser.parse_args()
    threads = {} if options.threads is None else {"n_threads": options.threads}
    with Decoder(options.target or embedded()["target"], n_ctx=2048, **threads) as decoder:
        print(f"{decoder.vocab_size:,} tokens")
        print_compile_times(decoder)
        tasks = [Task(prompt_tokens(decoder, text)) for text in PROMPTS[: options.num_prompts]]
        common: SamplingOptions = {
            "max_tokens": options.tokens,
            "num_draft_tokens": options.K,
            "prompt_lookup": options.K > 0,
            "logit_bias": endless(decoder),
        }
        ways = {"none": common, **{name: {**common, **form} for name, form in FORMS.items()}}
        runs = {name: partial(one_by_one, decoder, tasks, way) for name, way in ways.items()}
        samples = interleave(runs, repeat=options.repeat, what="masks")
    plain = [s.speed for s in samples["none"]]
    rows = [row(name, found, plain) for name, found in samples.items()]
    heads = ["mask", "tokens/s", "÷ none", "own code", "a round"]
    note = "Decoding after the first chunk. Median (range), ratios by repetition."
    stdout().print(table("what a mask costs", heads, rows, note=note))


def row(name: str, found: list[Sample], plain: list[float]) -> list[str]:
    """A line of the table."""
    speeds = [s.speed for s in found]
    total = Sample.total(found)
    return [
        name,
        f"{Range.of(speeds):.4g}",
        f"{Range.of(ratios(speeds, plain)):.3f}",
        f"{total.own / total.seconds:.1%}",
        f"{total.tokens_per_round:.2f}",
    ]


def print_compile_times(decoder: Decoder) -> None:
    """Of the first grammar, which reads the vocabulary, and of the twenty schemas."""
    taken = []
    for asked in SCHEMAS:
        form = {"type": "json_schema", "json_schema": {"schema": asked.schema}}
        start = time.perf_counter()
        request = decoder.submit([1], response_format=form, max_tokens=1)
        taken.append(time.perf_counter() - start)
        decoder.cancel(request)
        while decoder.has_work:
            decoder.step()
    rest = sorted(taken[1:])
    print(f"the first grammar: {taken[0]:.2f} s, with the vocabulary and a process to try it in")
    print(f"the others: median {rest[len(rest) // 2]:.2f} s, most {rest[-1]:.2f} s")


if __name__ == "__main__":
    main()
