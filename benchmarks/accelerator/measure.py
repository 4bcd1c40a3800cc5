"""What decoding costs on an accelerator: by round, by model and in our own code.

With models of random weights (random_gguf.py), whose acceptance means nothing: the time of a round
at a fixed draft length does not hang on it. One target and its pair at a time:

- plain decoding beside llama-bench, built from the same sources
- lossless and aligned rounds without drafts and with 3 and 7, and where their time goes
- 1, 4, 16 and 64 requests at the same time
- log-probabilities on the accelerator against those on the processor

    python benchmarks/accelerator/measure.py --target qwen2.5-1.5b --pair trimmed-152k
    python benchmarks/accelerator/measure.py --small
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from dataclasses import asdict, astuple, dataclass, field
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np
from random_gguf import SHAPES, write_random

from rewardshift import Decoder, _core
from rewardshift.bench import Range, Task, endless, interleave, one_by_one, table, together
from rewardshift.cli.render import stdout
from rewardshift.options import target_only

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from rewardshift.bench import Sample
    from rewardshift.options import SamplingOptions

PROMPT = 16  # tokens
ROLES = ("target", "draft", "reference")


@dataclass
class Report:
    """What was measured so far; kept after each part, so that one that dies costs no other."""

    path: Path | None
    parts: dict[str, object] = field(default_factory=dict)

    def add(self, name: str, part: object) -> None:
        """Keeps a part."""
        self.parts[name] = part
        if self.path is not None:
            self.path.write_text(json.dumps(self.parts, indent=1) + "\n")


@dataclass(frozen=True)
class Files:
    """Of the roles."""

    target: Path
    draft: Path
    reference: Path


def main() -> None:
    """Prints a table for each part."""
    options = arguments()
    options.end = perf_counter() + options.seconds
    report = Report(options.json)
    report.add("machine", machine(options))
    with models(options) as files:
        parts: dict[str, Callable[[], object]] = {
            "llama_bench": lambda: llama_bench(files.target, options),
            "rounds": lambda: rounds(files, options),
            "prompts": lambda: prompts(files, options),
            "agreement": lambda: agreement(files, options),
            "requests": lambda: requests(files, options),
        }
        for name, part in parts.items():
            if perf_counter() > options.end:
                print(f"{name}: no time left", flush=True)
                continue
            began = perf_counter()
            report.add(name, part())
            print(f"({name}: {perf_counter() - began:.0f} s)\n", flush=True)


def arguments() -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--target", choices=SHAPES, default="qwen2.5-1.5b")
    parser.add_argument("--pair", choices=SHAPES, default="trimmed-152k")
    parser.add_argument("--small", action="store_true", help="rehearse with small models")
    parser.add_argument("--models", type=Path, help="folder of NAME.gguf; missing ones are written")
    parser.add_argument("--draft-lengths", type=int, nargs="+", default=[0, 3, 7])
    parser.add_argument("--requests", type=int, nargs="+", default=[1, 4, 16, 64])
    parser.add_argument("--tokens", type=int, default=96, help="per answer")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=600, help="begin no part after these")
    parser.add_argument("--llama-bench", type=Path, help="the program; else it is left out")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if options.small:
        options.target, options.pair = "small", "trimmed-4k"
        options.requests = [count for count in options.requests if count <= 16]
    return options


@contextmanager
def models(options: argparse.Namespace) -> Iterator[Files]:
    """The three files; draft and reference are of one shape."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.models or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        names = (options.target, options.pair, f"{options.pair}-reference")
        files = Files(*(folder / f"{name}.gguf" for name in names))
        shapes = (options.target, options.pair, options.pair)
        for seed, (path, shape) in enumerate(zip(astuple(files), shapes, strict=True)):
            if not path.exists():
                write_random(path, SHAPES[shape], seed=seed)
        yield files


def machine(options: argparse.Namespace) -> dict[str, object]:
    """Where this runs."""
    found: dict[str, object] = {
        "target": options.target,
        "pair": options.pair,
        "backends": list(_core.backends()),
        "devices": [f"{d.kind}: {d.description}" for d in _core.devices()],
        "threads": _core.usable_cores(),
        "cards": [],
    }
    if program := shutil.which("nvidia-smi"):
        query = "--query-gpu=name,memory.total,driver_version"
        found["cards"] = output_of([program, query, "--format=csv,noheader"]).splitlines()
    for name, value in found.items():
        print(f"{name}: {value}")
    print(flush=True)
    return found


def has_gpu() -> bool:
    """Whether layers go to one."""
    return any(device.kind in ("gpu", "integrated gpu") for device in _core.devices())


def opened(files: Files, *, requests: int = 1, n_gpu_layers: int = -1) -> Decoder:
    """With room for so many requests at a time."""
    return Decoder(
        files.target,
        files.draft,
        files.reference,
        n_gpu_layers=n_gpu_layers,
        n_ctx=4096 if requests == 1 else 256 * requests,
        n_seq_max=requests,
        progress=False,
    )


def llama_bench(target: Path, options: argparse.Namespace) -> object:
    """Tokens a second of the target by llama.cpp's own program, which samples nothing."""
    if options.llama_bench is None:
        print("llama-bench: left out")
        return None
    command = [str(options.llama_bench), "-m", str(target), "-p", "512", "-n", str(options.tokens)]
    command += ["-r", str(options.repeat), "-o", "json"]
    command += ["-ngl", "99", "-fa", "1"] if has_gpu() else ["-fa", "0"]
    runs = json.loads(output_of(command))
    for run in runs:
        kind = f"prompt of {run['n_prompt']}" if run["n_prompt"] else f"{run['n_gen']} generated"
        print(f"llama-bench, {kind}: {run['avg_ts']:.1f} ± {run['stddev_ts']:.1f} tokens/s")
    return runs


def output_of(command: Sequence[str]) -> str:
    """What a program prints; its errors are shown, and raise nothing but an empty answer."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        print(f"{command[0]} failed:\n{done.stderr[-2000:]}", file=sys.stderr)
        return "[]"
    return done.stdout


def ways(lengths: Sequence[int]) -> dict[str, SamplingOptions]:
    """Plain, lossless and aligned decoding at each draft length."""
    found: dict[str, SamplingOptions] = {"target alone": target_only()}
    for length in lengths:
        if length:
            found[f"lossless, K = {length}"] = {"strength": 0.0, "num_draft_tokens": length}
    for length in lengths:
        found[f"aligned, K = {length}"] = {"strength": 1.0, "num_draft_tokens": length}
    return found


def random_prompts(count: int, tokens: int = PROMPT) -> list[Task]:
    """Prompts of bytes' tokens, which differ from the first one on."""
    random = np.random.default_rng(1)
    return [Task(random.integers(3, 259, tokens).tolist()) for _ in range(count)]


def measured(
    decoder: Decoder,
    runs: dict[str, SamplingOptions],
    decode: Callable[[Decoder, SamplingOptions], Sample],
    options: argparse.Namespace,
    what: str,
) -> dict[str, list[Sample]]:
    """The ways in turns."""
    common: SamplingOptions = {
        "temperature": 0.8,
        "max_tokens": options.tokens,
        "logit_bias": endless(decoder),
    }
    calls = {name: partial(decode, decoder, {**common, **way}) for name, way in runs.items()}
    return interleave(calls, repeat=options.repeat, what=what)


def rounds(files: Files, options: argparse.Namespace) -> object:
    """One request: a round's milliseconds by role, own and other (Python, and all uncounted)."""
    tasks = random_prompts(1)
    with opened(files) as decoder:
        samples = measured(
            *(decoder, ways(options.draft_lengths)),
            lambda decoder, way: one_by_one(decoder, tasks, way),
            *(options, "rounds"),
        )
    show_rounds(samples, f"{options.target} with {options.pair}: one request, ms a round", options)
    return {name: [asdict(sample) for sample in of_way] for name, of_way in samples.items()}


def show_rounds(samples: dict[str, list[Sample]], title: str, options: argparse.Namespace) -> None:
    """A row a way."""
    heads = [
        "way",
        "tokens/s",
        "accepted",
        "tokens a round",
        "round",
        *ROLES,
        "own",
        "other",
        "own %",
    ]
    rows = []
    for name, of_way in samples.items():
        costs = [by_round(sample) for sample in of_way]
        middle = {key: Range.of([cost[key] for cost in costs]).median for key in costs[0]}
        rows.append(
            [
                name,
                f"{Range.of([sample.speed for sample in of_way]):.1f}",
                f"{of_way[0].acceptance:.2f}" if of_way[0].drafted else "",
                f"{of_way[0].tokens_per_round:.2f}",
                f"{Range.of([cost['round'] for cost in costs]):.3f}",
                *(f"{middle[key]:.3f}" for key in (*ROLES, "own", "other")),
                f"{100 * middle['own'] / middle['round']:.1f}",
            ]
        )
    what = f"{options.tokens} tokens after {PROMPT}, prompt included"
    note = f"Median (range) of {options.repeat}; {what}."
    wide(table(title, heads, rows, note=note))


def by_round(sample: Sample) -> dict[str, float]:
    """Milliseconds a round of the wall's time, and of its parts."""
    found = {name: getattr(sample, name) for name in (*ROLES, "own")}
    found["other"] = sample.seconds - sum(found.values())
    found["round"] = sample.seconds
    return {name: 1e3 * seconds / sample.rounds for name, seconds in found.items()}


def prompts(files: Files, options: argparse.Namespace) -> object:
    """How fast a prompt is read, by all three models and by the target alone."""
    size = 256 if options.small else 2048
    tasks = iter(
        random_prompts(4 * (options.repeat + 1), size)
    )  # no two have a beginning in common
    only: SamplingOptions = {"max_tokens": 1}
    runs: dict[str, SamplingOptions] = {
        "target alone": {**target_only(), **only},
        "aligned, K = 3": {"strength": 1.0, "num_draft_tokens": 3, **only},
    }
    with opened(files) as decoder:
        samples = measured(
            *(decoder, runs),
            lambda decoder, way: together(decoder, [next(tasks)], way),
            *(options, "prompts"),
        )
    speeds = {name: [size / s.seconds for s in of_way] for name, of_way in samples.items()}
    rows = [[name, f"{Range.of(values):.0f}"] for name, values in speeds.items()]
    wide(table(f"a prompt of {size} tokens", ["way", "tokens/s"], rows))
    return {"tokens": size, "tokens_per_second": speeds}


def requests(files: Files, options: argparse.Namespace) -> object:
    """Many requests at the same time: tokens/s of all of them, and a round's milliseconds."""
    tasks = random_prompts(max(options.requests))
    chosen = {k: v for k, v in ways([0, 3]).items() if k != "aligned, K = 0"}
    shorter = argparse.Namespace(tokens=min(options.tokens, 32), repeat=min(options.repeat, 2))
    found: dict[str, dict[str, list[Sample]]] = {}
    with opened(files, requests=max(options.requests)) as decoder:
        for count in options.requests:
            if perf_counter() > options.end:
                print(f"{count} requests: no time left")
                continue
            found[str(count)] = measured(
                *(decoder, chosen),
                lambda decoder, way, group=tasks[:count]: together(decoder, group, way),
                *(shorter, f"{count} requests"),
            )
            show_requests(found[str(count)], count, options)
    return {
        count: {name: [asdict(s) for s in of_way] for name, of_way in by_way.items()}
        for count, by_way in found.items()
    }


def show_requests(
    samples: dict[str, list[Sample]], count: int, options: argparse.Namespace
) -> None:
    """A row a way; rounds are those of all requests together."""
    heads = ["way", "tokens/s", "a round of all", *ROLES, "own", "other", "own %"]
    rows = []
    for name, of_way in samples.items():
        costs = [{k: v * count for k, v in by_round(sample).items()} for sample in of_way]
        middle = {key: Range.of([cost[key] for cost in costs]).median for key in costs[0]}
        rows.append(
            [
                *(name, f"{Range.of([s.throughput for s in of_way]):.0f}"),
                f"{Range.of([cost['round'] for cost in costs]):.2f}",
                *(f"{middle[key]:.2f}" for key in (*ROLES, "own", "other")),
                f"{100 * middle['own'] / middle['round']:.1f}",
            ]
        )
    wide(table(f"{options.target} with {options.pair}: {count} at once, ms a round", heads, rows))
    print(flush=True)


def agreement(files: Files, options: argparse.Namespace) -> object:
    """How far the log-probabilities of the same tokens lie apart, on the GPU and without it."""
    prompt = random_prompts(1)[0].prompt
    continuation = random_prompts(2, 24)[1].prompt
    scores = []
    for layers in (-1, 0):
        with opened(files, n_gpu_layers=layers) as decoder:
            scores.append(decoder.score(prompt, continuation))
    found: dict[str, Any] = {}
    for name in (
        "target_logprobs",
        "draft_logprobs",
        "reference_logprobs",
        "goal_logprobs",
        "log_z",
    ):
        apart = np.abs(getattr(scores[0], name) - getattr(scores[1], name))
        found[name] = {"mean": float(apart.mean()), "max": float(apart.max())}
    print(f"log-probabilities with and without a GPU ({options.target}, 24 tokens), apart by:")
    for name, apart in found.items():
        print(f"  {name}: {apart['mean']:.2g} on average, {apart['max']:.2g} at most")
    return found


def wide(made: object) -> None:
    """Prints a table whole, however narrow a log is."""
    console = stdout()
    console.width = max(console.width, 160)
    console.print(made)


if __name__ == "__main__":
    main()
