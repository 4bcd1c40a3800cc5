"""What an aligned pair does to the text, beside Best-of-N of the target.

    python benchmarks/alignment.py            # the embedded pair
    python benchmarks/alignment.py --n 8 --seeds 3 -m big.gguf --reference small.gguf \
        --draft-lora small-aligned.gguf

Prompts that took no part in the training; rewards by VADER (which the embedded pair was aligned to,
and Best-of-N chooses by) and by AFINN, an independent lexicon, the gold measure. Perplexity is the
target's. Intervals are 95 % bootstrap intervals over prompts.
"""

from __future__ import annotations

import argparse
import itertools
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from rewardshift import Completion, Decoder, embedded
from rewardshift.rewards import AfinnReward, VaderReward

if TYPE_CHECKING:
    from collections.abc import Sequence

PROMPTS = Path(__file__).with_name("held_out_prompts.txt")
AT_ONCE = 16


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("-m", "--target", default=None)
    parser.add_argument("-md", "--draft", default=None)
    parser.add_argument("--reference", default=None)
    parser.add_argument("--draft-lora", default=None)
    parser.add_argument("--prompts", type=Path, default=PROMPTS)
    parser.add_argument("--n", type=int, default=8, help="of Best-of-N")
    parser.add_argument("--seeds", type=int, default=2, help="responses to each prompt")
    parser.add_argument("--max-tokens", type=int, default=64)
    parser.add_argument("--temperature", type=float, default=0.8)
    parser.add_argument("--strengths", type=float, nargs="+", default=[1.0])
    return parser.parse_args()


def answers(
    decoder: Decoder, prompts: Sequence[list[int]], seed: int, **options: object
) -> list[Completion]:
    found: list[Completion] = []
    for start in range(0, len(prompts), AT_ONCE):
        group = prompts[start : start + AT_ONCE]
        found += decoder.generate_batch(group, seed=1000 * seed + start, **options)
    return found


def best_of(
    decoder: Decoder,
    prompts: Sequence[list[int]],
    texts: Sequence[str],
    n: int,
    seed: int,
    **options,
) -> list[Completion]:
    vader = VaderReward()
    samples = answers(decoder, [p for p in prompts for _ in range(n)], seed + 500, **options)
    chosen = []
    for i, text in enumerate(texts):
        here = samples[i * n : (i + 1) * n]
        scores = vader([(text, c.text) for c in here])
        chosen.append(here[int(np.argmax(scores))])
    return chosen


def row(name: str, texts: Sequence[str], found: Sequence[Completion], base: dict | None) -> dict:
    asked = [(texts[i % len(texts)], c.text) for i, c in enumerate(found)]
    vader, afinn = VaderReward()(asked), AfinnReward()(asked)
    nats = [-step.target_logprob for c in found for step in c.steps]
    pairs = [p for c in found for p in itertools.pairwise(c.text.lower().split())]
    drafted = sum(c.statistics.drafted for c in found)
    result = {
        "vader": np.array(vader),
        "afinn": 100 * np.array(afinn),
        "perplexity": float(np.exp(np.mean(nats))),
        "distinct-2": len(set(pairs)) / max(1, len(pairs)),
    }
    accepted, decided = decisions(found)
    base = base or result
    print(
        f"{name:24} {interval(result['vader']):>22} {interval(result['afinn']):>22} "
        f"{result['perplexity']:6.2f} ({result['perplexity'] / base['perplexity']:.2f} x) "
        f"{result['distinct-2']:.3f} ({result['distinct-2'] / base['distinct-2']:.2f} x)"
        + (f"  accepted {accepted / decided:.3f} of {decided}" if drafted else ""),
        flush=True,
    )
    return result


def decisions(found: Sequence[Completion]) -> tuple[int, int]:
    """Drafts accepted, and drafts decided on (those after a rejection are not)."""
    origins = [step.origin for c in found for step in c.steps]
    accepted = origins.count("draft")
    return accepted, accepted + origins.count("correction")


def interval(values: np.ndarray) -> str:
    rng = np.random.default_rng(0)
    means = [rng.choice(values, len(values)).mean() for _ in range(2000)]
    low, high = np.percentile(means, (2.5, 97.5))
    return f"{values.mean():.3f} [{low:.3f}, {high:.3f}]"


def main() -> None:
    args = parse()
    roles = {
        role: path
        for role in ("target", "draft", "reference", "draft_lora")
        if (path := getattr(args, role)) is not None
    }
    roles = roles or dict(embedded())
    texts = args.prompts.read_text(encoding="utf-8").splitlines()
    options = {"max_tokens": args.max_tokens, "temperature": args.temperature}
    window = AT_ONCE * (args.max_tokens + 128)
    with Decoder(**roles, n_ctx=window) as decoder:
        prompts = [decoder.chat_prompts([{"role": "user", "content": t}])[0] for t in texts]
        seeds = range(1, args.seeds + 1)
        plain = {**options, "strength": 0.0, "num_draft_tokens": 0}
        print(f"{len(texts)} prompts x {args.seeds}, temperature {args.temperature:g}")
        print(f"{'':24} {'VADER':>22} {'AFINN / 100 words':>22} perplexity, distinct-2")
        found = [c for s in seeds for c in answers(decoder, prompts, s, **plain)]
        base = row("target", texts, found, None)
        found = [c for s in seeds for c in best_of(decoder, prompts, texts, args.n, s, **plain)]
        row(f"target, Best-of-{args.n}", texts, found, base)
        for strength in args.strengths:
            shifted = {**options, "strength": strength, "num_draft_tokens": 3}
            found = [c for s in seeds for c in answers(decoder, prompts, s, **shifted)]
            row(f"pi*, strength {strength:g}", texts, found, base)
        lossless = {**options, "strength": 0.0, "num_draft_tokens": 3, "temperature": 1.0}
        row("lossless, T 1", texts, answers(decoder, prompts, 1, **lossless), base)
    if "reference" not in roles:
        return
    with Decoder(roles["target"], draft=roles["reference"], n_ctx=window) as decoder:
        row("its reference drafts", texts, answers(decoder, prompts, 1, **lossless), base)


if __name__ == "__main__":
    main()
