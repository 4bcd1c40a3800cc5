"""Measures what verifying a block costs a model: one evaluation of 1, 2, … 16 rows.

Passes are interleaved over the models, so that a slow moment of the machine falls on all of them;
within a pass each number is the fastest of seven (see ``rewardshift.costs``). Prints medians over
the passes with their range, and writes the medians for docs/plots/cost_curve.py.

    python benchmarks/cost_curve.py --json docs/plots/cost_curve.json "1.5B Q4_0=big.gguf"
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
from pathlib import Path

from rewardshift import _core
from rewardshift.costs import measure_costs
from rewardshift.models import smollm2, smollm2_q4_0


def main() -> None:
    """Prints and writes the measurements."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="*", metavar="NAME=GGUF", help="SmolLM2 unless given")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where to write the medians")
    parser.add_argument("--machine", default=this_machine(), help="how the plot names it")
    parser.add_argument("--most-rows", type=int, default=16)
    parser.add_argument("--repeat", type=int, default=5, help="passes over all models")
    options = parser.parse_args()
    paths = dict(model.split("=", 1) for model in options.models) or {
        "135M Q4_1": smollm2(),
        "135M Q4_0": smollm2_q4_0(),
    }
    passes: dict[str, list[tuple[float, ...]]] = {name: [] for name in paths}
    for _ in range(options.repeat):
        for name, path in paths.items():
            passes[name].append(measure_costs(path, most_rows=options.most_rows))
    print(options.machine)
    for name, curves in passes.items():
        print(f"{name}: milliseconds for a block, median [least, most] of {options.repeat} passes")
        for rows, seconds in enumerate(zip(*curves, strict=True), start=1):
            print(f"{rows:4} {spread([1e3 * s for s in seconds])}")
    if options.json is not None:
        options.json.write_text(as_json(options.machine, passes), encoding="utf-8")


def spread(values: list[float]) -> str:
    """Median and range."""
    return f"{statistics.median(values):8.2f} [{min(values):.2f}, {max(values):.2f}]"


def as_json(machine: str, passes: dict[str, list[tuple[float, ...]]]) -> str:
    """What the plot reads, a line for each model."""
    models = []
    for name, curves in passes.items():
        ms = [round(1e3 * statistics.median(s), 2) for s in zip(*curves, strict=True)]
        model = {"name": name, "rows": list(range(1, len(ms) + 1)), "ms": ms}
        models.append(json.dumps(model, ensure_ascii=False))
    lines = ",\n    ".join(models)
    return f'{{\n  "machine": {json.dumps(machine)},\n  "models": [\n    {lines}\n  ]\n}}\n'


def this_machine() -> str:
    """Cores, instruction set and llama.cpp, in words."""
    features = dict(_core.cpu_features())
    vectors = next((name for name in ("AVX512", "AVX2", "SVE", "NEON") if name in features), None)
    instructions = f"{platform.machine()}{f' with {vectors}' if vectors else ''}"
    llama_cpp = f"llama.cpp of llama-cpp-python {_core.llama_cpp_version}"
    return f"{_core.usable_cores()} cores, {instructions}, {llama_cpp}"


if __name__ == "__main__":
    main()
