"""Our lossless mode against llama.cpp's own speculation, built from the same sources.

Both get the same pair, prompts, threads, number of tokens and draft length, sample at one
temperature without truncation, and may not end a text early. Loading and prompts are left out on
both sides: theirs is the time that llama-speculative-simple prints for decoding, ours that from the
first chunk on. A second pair of rows gives both llama.cpp's default truncation (top-k 40, top-p
0.95, min-p 0.05). Their programs are built with OpenMP, llama.cpp's default and here their fastest:
without it, they need `--poll 0` and are a little slower. llama-bench, which evaluates but does not
sample, is what our plain decoding is held against.

    make peers
    python benchmarks/peers.py
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rewardshift import Decoder, _core
from rewardshift.bench import (
    PROMPTS,
    Range,
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
    from collections.abc import Callable, Sequence

    from rewardshift.options import SamplingOptions

BIN = Path(__file__).parents[1] / "build" / "peers" / "bin"
DECODED = re.compile(r"decoded\s+(\d+) tokens in\s+([\d.]+) seconds")
DRAFTED = re.compile(r"n_drafted\s*=\s*(\d+)")
ACCEPTED = re.compile(r"n_accept\s*=\s*(\d+)")
THEIR_TRUNCATION: SamplingOptions = {"top_k": 40, "top_p": 0.95, "min_p": 0.05}
COMPARED = {  # what each row is divided by
    "ours": "llama.cpp",
    "ours, adaptive": "llama.cpp",
    "ours, truncated": "llama.cpp, truncated",
    "ours, target only": "llama-bench",
}


@dataclass(frozen=True)
class Run:
    """Tokens decoded and the seconds that took, without prompts; what was drafted for it."""

    tokens: int
    seconds: float
    drafted: int = 0
    accepted: int = 0

    @property
    def speed(self) -> float:
        """Tokens per second."""
        return self.tokens / self.seconds


def main() -> None:
    """Prints one row a program and setting."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-m", "--target", type=Path)
    parser.add_argument("-md", "--draft", type=Path)
    parser.add_argument("--draft-lengths", type=int, nargs="+", default=[3, 7])
    parser.add_argument("--temp", type=float, default=0.8)
    parser.add_argument("--tokens", type=int, default=128, help="per answer")
    parser.add_argument("--num-prompts", type=int, default=4, help="how many of the built-in ones")
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("-t", "--threads", type=int, default=_core.usable_cores())
    parser.add_argument("--bin", type=Path, default=BIN, help="where llama.cpp's programs are")
    options = parser.parse_args()
    for program in ("llama-speculative-simple", "llama-bench"):
        if not (options.bin / program).exists():
            parser.error(f"{options.bin / program} is missing: `make peers` builds it")
    options.target = options.target or smollm2()
    options.draft = options.draft or smollm2_q4_0()

    with Decoder(options.target, options.draft, n_ctx=2048, n_threads=options.threads) as decoder:
        texts = [rendered(decoder, prompt) for prompt in PROMPTS[: options.num_prompts]]
        for length in options.draft_lengths:
            compare(decoder, texts, length, options)


def rendered(decoder: Decoder, prompt: str) -> str:
    """What both programs are given: text, which both tokenize with the model's own specials."""
    tokens, _ = decoder.chat_prompts([{"role": "user", "content": prompt}])
    text = decoder.detokenize(tokens, special=True)
    if decoder.tokenize(text) != tokens:
        raise ValueError(f"{text!r} has other tokens than the chat that it renders")
    return text


def compare(
    decoder: Decoder, texts: Sequence[str], length: int, options: argparse.Namespace
) -> None:
    """The table of one draft length."""
    common: SamplingOptions = {
        "temperature": options.temp,
        "strength": 0.0,
        "max_tokens": options.tokens,
        "logit_bias": endless(decoder),
    }
    tasks = [Task(decoder.tokenize(text)) for text in texts]

    def ours(length: int | None, more: SamplingOptions | None = None) -> Callable[[], Run]:
        way: SamplingOptions = {**common, "num_draft_tokens": length, **(more or {})}

        def run() -> Run:
            s = one_by_one(decoder, tasks, way)
            return Run(s.later_tokens, s.later_seconds, s.drafted, s.accepted)

        return run

    runs: dict[str, Callable[[], Run]] = {
        "ours": ours(length),
        "ours, adaptive": ours(None),
        "llama.cpp": lambda: theirs(texts, length, options, ["--samplers", "temperature"]),
        "ours, truncated": ours(length, THEIR_TRUNCATION),
        "llama.cpp, truncated": lambda: theirs(texts, length, options, []),
        "ours, target only": ours(0),
        "llama-bench": lambda: bench(options),
    }
    results = interleave(runs, repeat=options.repeat, what=f"K={length}")
    heads = ["program", "tokens/s", "accepted", "÷ its peer", "peer"]
    title = (
        f"K={length}, temperature {options.temp}, {options.threads} threads: "
        f"{options.target.name} with {options.draft.name}"
    )
    note = "Without loading and prompts; median (range), ratios by repetition."
    rows = [row(name, results) for name in runs]
    stdout().print(table(title, heads, rows, note=note))
    stdout().print()


def row(name: str, results: dict[str, list[Run]]) -> list[str]:
    """A line of the table."""
    speeds = [run.speed for run in results[name]]
    drafted = sum(run.drafted for run in results[name])
    accepted = sum(run.accepted for run in results[name])
    cells = [name, f"{Range.of(speeds):.3g}", f"{accepted / drafted:.2f}" if drafted else ""]
    if (peer := COMPARED.get(name)) is None:
        return [*cells, "", ""]
    gain = Range.of(ratios(speeds, [run.speed for run in results[peer]]))
    return [*cells, f"{gain:.2f}", peer]


def theirs(
    texts: Sequence[str], length: int, options: argparse.Namespace, samplers: Sequence[str]
) -> Run:
    """llama-speculative-simple on each prompt; it drafts ``length`` tokens however unlikely."""
    parts = [decoded(text, length, options, samplers) for text in texts]
    return Run(
        sum(part.tokens for part in parts),
        sum(part.seconds for part in parts),
        sum(part.drafted for part in parts),
        sum(part.accepted for part in parts),
    )


def decoded(text: str, length: int, options: argparse.Namespace, samplers: Sequence[str]) -> Run:
    """One prompt; its decoding stops at the first round that reaches the number of tokens."""
    threads = str(options.threads)
    said = output_of(
        [
            *(options.bin / "llama-speculative-simple", "-p", text, "-c", "2048", "-fit", "off"),
            *("-m", options.target, "-t", threads, "-n", str(options.tokens), "--ignore-eos"),
            *("-md", options.draft, "-td", threads, "--spec-type", "draft-simple"),
            *("--spec-draft-n-max", str(length), "--spec-draft-p-min", "0"),
            *("--temp", str(options.temp), *samplers),
        ]
    )
    timed, drafted, accepted = (x.search(said) for x in (DECODED, DRAFTED, ACCEPTED))
    if timed is None or drafted is None or accepted is None:
        raise ValueError(f"llama-speculative-simple said something unknown: {said[-500:]}")
    return Run(int(timed[1]), float(timed[2]), int(drafted[1]), int(accepted[1]))


def bench(options: argparse.Namespace) -> Run:
    """llama-bench's generation of as many tokens by the target alone."""
    command = [options.bin / "llama-bench", "-m", options.target, "-t", str(options.threads)]
    said = output_of([*command, "-p", "0", "-n", str(options.tokens), "-r", "1", "-o", "json"])
    found = json.loads(said[said.index("[") : said.rindex("]") + 1])[0]
    return Run(found["n_gen"], found["avg_ns"] / 1e9)


def output_of(command: Sequence[str | Path]) -> str:
    """Both streams of a program that must not fail."""
    done = subprocess.run(
        [str(word) for word in command], capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise RuntimeError(f"{command[0]} failed: {done.stderr[-500:]}")
    return done.stdout + done.stderr


if __name__ == "__main__":
    main()
