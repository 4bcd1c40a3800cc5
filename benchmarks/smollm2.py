"""What the README says of SmolLM2-135M: import time, the noise of batches, and speeds.

Target: the Q4_1 file as distributed. Draft and reference: its Q4_0 re-quantisation, shifted by
prompt; ``--draft`` takes another file for both. ``rewardshift bench`` measures more, of any models.

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

from rewardshift import Decoder, _core
from rewardshift.bench import PROMPTS, Task, measure_speed
from rewardshift.cli.render import stdout
from rewardshift.models import smollm2, smollm2_q4_0

if TYPE_CHECKING:
    from pathlib import Path

WARM = "You are a warm, cheerful assistant who loves to encourage people."


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
    tokens = model.tokenize(" ".join((*PROMPTS[:4], WARM)), True, True)
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
    """pi* and lossless, with each draft length."""
    tasks = [
        Task(*decoder.chat_prompts([{"role": "user", "content": p}], draft_system=WARM))
        for p in PROMPTS[:4]
    ]
    for title, shifted in (("pi*", True), ("lossless", False)):
        report = measure_speed(
            decoder,
            tasks if shifted else [Task(task.prompt) for task in tasks],
            title=title,
            shifted=shifted,
            draft_lengths=(1, 3, 7),
            max_tokens=tokens,
            repeat=repeat,
        )
        for shown in report.tables():
            stdout().print(shown)
            stdout().print()


if __name__ == "__main__":
    main()
