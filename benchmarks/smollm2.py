"""Speed of the three ways to decode SmolLM2-135M, side by side in one run.

Target: the Q4_1 file as distributed. Draft and reference: its Q4_0 re-quantisation, shifted by
prompt; ``--draft`` takes another file for both. Prints medians over interleaved repetitions with
their range, and how much logits change with the shape of the batch that computes them.

    python benchmarks/smollm2.py
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import numpy as np

from rewardshift import Completion, Decoder, _core
from rewardshift.models import smollm2, smollm2_q4_0

if TYPE_CHECKING:
    from pathlib import Path

QUESTIONS = (
    "How do I start learning the piano?",
    "What should I cook tonight?",
    "Why is the sky blue?",
    "Tell me about the city of Lisbon.",
)
WARM = "You are a warm, cheerful assistant who loves to encourage people."
WAYS = {
    "target only": {"strength": 0.0, "num_draft_tokens": 0},
    "three models, K=0": {"num_draft_tokens": 0},
    **{f"speculative pi*, K={k}": {"num_draft_tokens": k} for k in (1, 3, 7)},
    "lossless, K=3": {"strength": 0.0, "num_draft_tokens": 3},
}


def main() -> None:
    """Prints all measurements."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--draft", help="GGUF of draft and reference", default=None)
    parser.add_argument("--tokens", type=int, default=64, help="per answer")
    parser.add_argument("--repeat", type=int, default=3)
    options = parser.parse_args()
    small = options.draft or smollm2_q4_0()
    print(f"{_core.usable_cores()} cores; target {smollm2().name}, draft and reference {small}")
    print_import_time()
    print_batch_noise(smollm2())
    with Decoder(smollm2(), small, small, n_ctx=2048) as decoder:
        print_speeds(decoder, options.tokens, options.repeat)


def print_import_time() -> None:
    """Wall time of a fresh interpreter that imports the package, less one that does not."""

    def seconds(code: str) -> float:
        times = []
        for _ in range(9):
            start = time.perf_counter()
            subprocess.run([sys.executable, "-c", code], check=True)
            times.append(time.perf_counter() - start)
        return statistics.median(times)

    print(f"import: {seconds('import rewardshift') - seconds('pass'):.3f} s")


def print_batch_noise(path: Path) -> None:
    """Total variation between next-token laws computed alone and among others that draft."""
    model = _core.Model.load(str(path), _core.ModelOptions(), None)
    options = _core.ContextOptions()
    options.n_ctx = 1024
    pool = _core.Threadpool(_core.usable_cores())
    alone = _core.Context(model, options, pool)
    crowd = _core.Context(model, options, pool)
    tokens = model.tokenize(" ".join((*QUESTIONS, WARM)), True, True)
    laws = softmax(alone.logits([(0, tokens, len(tokens))]))
    random = np.random.default_rng(0)
    ends = [8] * 4
    distances = []
    while max(ends) < len(tokens):
        # Rejected drafts scatter a sequence over the cache's cells, as in decoding.
        drafts = random.integers(model.facts.vocab_size, size=(4, 3)).tolist()
        rows = crowd.logits([(s, tokens[:end] + drafts[s], 4) for s, end in enumerate(ends)])
        for s, end in enumerate(ends):
            distances.append(0.5 * float(np.abs(softmax(rows[4 * s]) - laws[end - 1]).sum()))
            ends[s] += int(random.integers(1, 5))
    print(
        "batch shape: total variation between the same law evaluated alone and in a batch of 16 "
        f"rows: mean {np.mean(distances):.4f}, largest {np.max(distances):.4f}"
    )


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities along the last axis."""
    weights = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return weights / weights.sum(axis=-1, keepdims=True)


def print_speeds(decoder: Decoder, tokens: int, repeat: int) -> None:
    """One line per way of decoding; the ratio compares with the target alone in the same run."""
    runs: dict[str, list[list[Completion]]] = {name: [] for name in WAYS}
    for repetition in range(repeat + 1):
        for name, way in WAYS.items():
            answers = [
                decoder.chat(
                    [{"role": "user", "content": question}],
                    draft_system=WARM,
                    max_tokens=tokens,
                    seed=repetition,
                    **way,
                )
                for question in QUESTIONS
            ]
            if repetition > 0:  # the first warms up
                runs[name].append(answers)
    plain = [speed(answers) for answers in runs["target only"]]
    print(f"{'':22}{'tokens/s':>18}{'ratio':>16}{'accept':>8}{'tok/round':>10}{'own':>7}")
    for name, repetitions in runs.items():
        speeds = [speed(answers) for answers in repetitions]
        ratios = [s / p for s, p in zip(speeds, plain, strict=True)]
        drafted = sum(a.statistics.drafted for r in repetitions for a in r)
        accepted = sum(a.statistics.accepted for r in repetitions for a in r)
        rounds = sum(a.statistics.rounds for r in repetitions for a in r)
        emitted = sum(a.statistics.tokens for r in repetitions for a in r)
        own = sum(a.statistics.seconds.own for r in repetitions for a in r)
        total = sum(a.statistics.seconds.total for r in repetitions for a in r)
        print(
            f"{name:22}{spread(speeds, '.1f'):>18}{spread(ratios, '.2f'):>16}"
            f"{accepted / drafted if drafted else float('nan'):8.2f}{emitted / rounds:10.2f}"
            f"{own / total:7.1%}"
        )


def speed(answers: list[Completion]) -> float:
    """Tokens per second of several answers."""
    seconds = sum(answer.statistics.seconds.total for answer in answers)
    return sum(answer.statistics.tokens for answer in answers) / seconds


def spread(values: list[float], form: str) -> str:
    """Median and range."""
    middle = format(statistics.median(values), form)
    return f"{middle} [{format(min(values), form)}, {format(max(values), form)}]"


if __name__ == "__main__":
    main()
