"""Speed of a wheel against the build for this very processor, turn and turn about.

Installs the wheel into an environment of its own and lets the two decode SmolLM2-135M alternately,
each time in a fresh process, so that both meet the machine in the same states. Prints tokens per
second (median and range over the turns) and the ratio within each turn.

    make wheel && .venv/bin/python benchmarks/wheel.py dist/*.whl
    .venv/bin/python benchmarks/wheel.py dist/*.whl --core haswell
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

QUESTION = "Tell me about the city of Lisbon."
WARM = "You are a warm, cheerful assistant who loves to encourage people."
READ = "reading a prompt"
WAYS = {
    "target only": {"strength": 0.0, "num_draft_tokens": 0},
    "speculative pi*, K=3": {"num_draft_tokens": 3},
}


def main() -> None:
    """Prints all measurements."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("wheel", type=Path, nargs="?")
    parser.add_argument("--core", help="one of the wheel's; otherwise the one it chooses")
    parser.add_argument("--tokens", type=int, default=96, help="per answer")
    parser.add_argument("--turns", type=int, default=7)
    parser.add_argument("--once", action="store_true", help="only print this build's speeds")
    options = parser.parse_args()
    if options.once:
        print(json.dumps(speeds(options.tokens)))
        return
    with tempfile.TemporaryDirectory() as folder:
        python = install(options.wheel, Path(folder))
        asked = {"REWARDSHIFT_CPU": options.core} if options.core else {}
        turns = []
        for _ in range(options.turns):
            here = run(sys.executable, options.tokens, {})
            turns.append((run(python, options.tokens, asked), here))
    print(f"wheel: {turns[0][0].pop('cpu')}; this build: {turns[0][1].pop('cpu')}")
    print(f"{'tokens/s':22}{'wheel':>24}{'this build':>24}{'ratio':>20}")
    for way in turns[0][0]:
        wheel = [float(theirs[way]) for theirs, _ in turns]
        here = [float(ours[way]) for _, ours in turns]
        ratios = [a / b for a, b in zip(wheel, here, strict=True)]
        columns = spread(wheel, ".1f"), spread(here, ".1f"), spread(ratios, ".2f")
        print(f"{way:22}{columns[0]:>24}{columns[1]:>24}{columns[2]:>20}")


def install(wheel: Path, folder: Path) -> str:
    """The Python of a new environment that has the wheel."""
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    python = folder / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "--quiet", wheel], check=True)
    return str(python)


def run(python: str, tokens: int, environment: dict[str, str]) -> dict[str, str | float]:
    """What ``speeds`` measures in a process of its own."""
    command = [python, __file__, "--once", "--tokens", str(tokens)]
    process = subprocess.run(
        command, env={**os.environ, **environment}, stdout=subprocess.PIPE, text=True, check=True
    )
    return json.loads(process.stdout)


def speeds(tokens: int) -> dict[str, str | float]:
    """Which core runs, and its tokens per second in each way of decoding and in reading."""
    from rewardshift import Decoder, _core
    from rewardshift.models import smollm2, smollm2_q4_0

    found: dict[str, str | float] = {"cpu": _core.cpu}
    with Decoder(smollm2(), smollm2_q4_0(), smollm2_q4_0(), n_ctx=2048) as decoder:
        passage = decoder.tokenize(" ".join([WARM, QUESTION] * 20))
        decoder.generate(passage[:64], max_tokens=1, strength=0.0, num_draft_tokens=0)  # warms up
        read = decoder.generate(passage[::-1], max_tokens=1, strength=0.0, num_draft_tokens=0)
        found[READ] = len(passage) / read.statistics.seconds.total
        for name, way in WAYS.items():
            answer = decoder.chat(
                [{"role": "user", "content": QUESTION}],
                draft_system=WARM,
                max_tokens=tokens,
                seed=1,
                **way,
            )
            found[name] = answer.statistics.tokens / answer.statistics.seconds.total
    return found


def spread(values: list[float], form: str) -> str:
    """Median and range."""
    middle = format(statistics.median(values), form)
    return f"{middle} [{format(min(values), form)}, {format(max(values), form)}]"


if __name__ == "__main__":
    main()
