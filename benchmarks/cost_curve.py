"""Measures what a model's verify blocks cost: one evaluation of n = 1 … 16 rows after a prompt.

Repetitions are interleaved over models and lengths, so that a slow moment of the machine falls on
all of them. Prints medians and least times, and writes the medians for docs/plots/cost_curve.py.

    python benchmarks/cost_curve.py --json docs/plots/cost_curve.json "1.5B Q4_0=big.gguf"
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from pathlib import Path

import numpy as np

from rewardshift import _core
from rewardshift.models import smollm2, smollm2_q4_0

PROMPT = 128  # tokens before the block


class Evaluator:
    """A model with a prompt in its cache."""

    def __init__(self, path: str, pool: _core.Threadpool, most_rows: int) -> None:
        options = _core.ContextOptions()
        options.n_ctx = PROMPT + most_rows
        options.n_seq_max = 1
        options.n_threads = _core.usable_cores()
        model = _core.Model.load(path, _core.ModelOptions(), None)
        random = np.random.default_rng(0)
        self.context = _core.Context(model, options, pool)
        self.tokens = random.integers(model.facts.vocab_size, size=PROMPT + most_rows).tolist()

    def milliseconds(self, rows: int) -> float:
        """Of evaluating a block: its rows are never answered from the cache."""
        history = self.tokens[: PROMPT + rows]
        start = time.perf_counter()
        self.context.logits([(0, history, rows)])
        return 1e3 * (time.perf_counter() - start)


def main() -> None:
    """Prints and writes the measurements."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="*", metavar="NAME=GGUF", help="SmolLM2 unless given")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where to write the medians")
    parser.add_argument("--machine", default=this_machine(), help="how the plot names it")
    parser.add_argument("--most-rows", type=int, default=16)
    parser.add_argument("--repeat", type=int, default=15)
    options = parser.parse_args()
    paths = dict(model.split("=", 1) for model in options.models) or {
        "135M Q4_1": str(smollm2()),
        "135M Q4_0": str(smollm2_q4_0()),
    }
    lengths = range(1, options.most_rows + 1)
    times = measure(paths, lengths, options.repeat)
    print(options.machine)
    print(f"{'rows':20}" + "".join(f"{n:>7}" for n in lengths))
    for name, by_length in times.items():
        for what, summary in (("median ms", statistics.median), ("least ms", min)):
            values = "".join(f"{summary(by_length[n]):7.1f}" for n in lengths)
            print(f"{name + ', ' + what:20}{values}")
    if options.json is not None:
        options.json.write_text(as_json(options.machine, times), encoding="utf-8")


def measure(
    paths: dict[str, str], lengths: range, repeat: int
) -> dict[str, dict[int, list[float]]]:
    """Milliseconds by model and block length; a first round of each warms up."""
    pool = _core.Threadpool(_core.usable_cores())
    evaluators = {name: Evaluator(path, pool, lengths[-1]) for name, path in paths.items()}
    times: dict[str, dict[int, list[float]]] = {name: {n: [] for n in lengths} for name in paths}
    for repetition in range(repeat + 1):
        for name, evaluator in evaluators.items():
            for n in lengths:
                ms = evaluator.milliseconds(n)
                if repetition > 0:
                    times[name][n].append(ms)
    return times


def as_json(machine: str, times: dict[str, dict[int, list[float]]]) -> str:
    """What the plot reads, a line for each model."""
    models = ",\n    ".join(
        json.dumps(
            {
                "name": name,
                "rows": list(by_length),
                "ms": [round(statistics.median(ms), 2) for ms in by_length.values()],
            }
        )
        for name, by_length in times.items()
    )
    return f'{{\n  "machine": {json.dumps(machine)},\n  "models": [\n    {models}\n  ]\n}}\n'


def this_machine() -> str:
    """Cores, instruction set and llama.cpp, in words."""
    features = dict(_core.cpu_features())
    vectors = next((name for name in ("AVX512", "AVX2", "SVE", "NEON") if name in features), None)
    instructions = f"{platform.machine()}{f' with {vectors}' if vectors else ''}"
    llama_cpp = f"llama.cpp of llama-cpp-python {_core.llama_cpp_version}"
    return f"{_core.usable_cores()} cores, {instructions}, {llama_cpp}"


if __name__ == "__main__":
    main()
