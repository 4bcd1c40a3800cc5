"""What an aligned pair does to the text, beside Best-of-N of the target.

    python benchmarks/alignment.py            # the embedded pair
    python benchmarks/alignment.py --best-of 8 --seeds 3 -m big.gguf --reference small.gguf \
        --draft-lora small-aligned.gguf

Prompts that took no part in the training; rewards by VADER (which the embedded pair was aligned to,
and Best-of-N chooses by) and by AFINN, an independent lexicon, the gold measure. Perplexity is the
target's. Intervals are 95 % bootstrap intervals over prompts.
"""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from rewardshift import Completion, Decoder, embedded
from rewardshift.evaluate.statistics import Interval, bootstrap, distinct, mean_of
from rewardshift.methods import BestOfN, Question
from rewardshift.options import target_only
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
    parser.add_argument("--best-of", type=int, default=8, help="how many, the best by VADER")
    parser.add_argument("--seeds", type=int, default=2, help="responses to each prompt")
    parser.add_argument("--max-tokens", type=int, default=64)
    parser.add_argument("--temperature", type=float, default=0.8)
    parser.add_argument("--strengths", type=float, nargs="+", default=[1.0])
    return parser.parse_args()


class Response(NamedTuple):
    """What rows are made of."""

    text: str
    target_logprobs: Sequence[float]
    origins: Sequence[str] = ()


def answers(
    decoder: Decoder, prompts: Sequence[list[int]], seed: int, **options: object
) -> list[Response]:
    found: list[Completion] = []
    for start in range(0, len(prompts), AT_ONCE):
        group = prompts[start : start + AT_ONCE]
        found += decoder.generate_batch(group, seed=1000 * seed + start, **options)
    return [
        Response(c.text, [s.target_logprob for s in c.steps], [s.origin for s in c.steps])
        for c in found
    ]


def best_of(
    decoder: Decoder,
    prompts: Sequence[list[int]],
    texts: Sequence[str],
    n: int,
    seed: int,
    **options,
) -> list[Response]:
    method = BestOfN(VaderReward(), n=n)
    found = []
    for i, (text, prompt) in enumerate(zip(texts, prompts, strict=True)):
        question = Question(text, prompt, seed=1000 * (seed + 500) + i, **options)
        answer = method.answer(decoder, question)
        found.append(Response(answer.text, answer.target_logprobs))
    return found


def row(name: str, texts: Sequence[str], found: Sequence[Response], base: dict | None) -> dict:
    asked = [(texts[i % len(texts)], response.text) for i, response in enumerate(found)]
    vader = interval(VaderReward()(asked), len(texts))
    afinn = interval([100 * score for score in AfinnReward()(asked)], len(texts))
    nats = [-logprob for response in found for logprob in response.target_logprobs]
    result = {
        "perplexity": float(np.exp(np.mean(nats))),
        "distinct-2": distinct([response.text for response in found], 2),
    }
    accepted, decided = decisions(found)
    base = base or result
    print(
        f"{name:24} {f'{vader:.3f}':>22} {f'{afinn:.3f}':>22} "
        f"{result['perplexity']:6.2f} ({result['perplexity'] / base['perplexity']:.2f} x) "
        f"{result['distinct-2']:.3f} ({result['distinct-2'] / base['distinct-2']:.2f} x)"
        + (f"  accepted {accepted / decided:.3f} of {decided}" if decided else ""),
        flush=True,
    )
    return result


def decisions(found: Sequence[Response]) -> tuple[int, int]:
    """Drafts accepted, and drafts decided on (those after a rejection are not)."""
    origins = Counter(origin for response in found for origin in response.origins)
    return origins["draft"], origins["draft"] + origins["correction"]


def interval(scores: Sequence[float], prompts: int) -> Interval:
    """Of the mean of scores that are one of each prompt for the first seed, then for the next."""
    return bootstrap(mean_of(np.reshape(scores, (-1, prompts)).T), prompts)


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
        plain = target_only(**options)
        print(f"{len(texts)} prompts x {args.seeds}, temperature {args.temperature:g}")
        print(f"{'':24} {'VADER':>22} {'AFINN / 100 words':>22} perplexity, distinct-2")
        found = [c for s in seeds for c in answers(decoder, prompts, s, **plain)]
        base = row("target", texts, found, None)
        found = [
            c for s in seeds for c in best_of(decoder, prompts, texts, args.best_of, s, **options)
        ]
        row(f"target, Best-of-{args.best_of}", texts, found, base)
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
