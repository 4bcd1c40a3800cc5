"""Best-of-N or SSS?

    python examples/best_of_n_or_sss.py  # the embedded pair
    python examples/best_of_n_or_sss.py big.gguf small-dpo.gguf small.gguf

Which N has the reward of SSS, and which of the two is faster there; intervals of 95 % decide.
Best-of-N chooses by VADER and both are judged by AFINN. Run again, it goes on where it was stopped.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

from rewardshift import embedded
from rewardshift.evaluate import (
    EqualGold,
    EvaluateOptions,
    Judges,
    evaluate,
    evaluation_prompts,
    summarise,
)
from rewardshift.methods import by_name
from rewardshift.rewards import AfinnReward, VaderReward

WIDE = 4  # times its lower end: what N is, is not known then


def advice(equal: EqualGold) -> str:
    """What to take, given where Best-of-N has the reward of SSS."""
    n, faster = equal.n, equal.speed_up
    if n.value <= equal.smallest and not n.high > equal.smallest:
        return "SSS has no more reward than one plain sample: another strength or pair may have."
    if math.isinf(n.low):
        return f"No Best-of-N up to {equal.largest} has the reward of SSS: take SSS."
    if not n.high <= WIDE * n.low:  # also where there are too few for intervals
        return f"Best-of-{n:.1f} may have the reward of SSS: too few prompts (--n) to tell."
    known = f"Best-of-{n:.1f} has the reward of SSS, which is {faster:.2f} times as fast there"
    if faster.low > 1:
        return f"{known}: take SSS."
    if faster.high < 1:
        return f"{known}: take Best-of-N."
    return f"{known}: too close to call; more prompts (--n) will tell."


parser = argparse.ArgumentParser()
parser.add_argument("models", nargs="*", help="target, draft and reference")
parser.add_argument("--num-prompts", type=int, default=30, help="prompts")
args = parser.parse_args()
if len(args.models) not in (0, 3):
    parser.error("give a target, a draft and a reference, or none for the embedded pair")

roles = dict(zip(("target", "draft", "reference"), args.models, strict=False)) or embedded()
vader = VaderReward()
specs = ["target", "sss:strength=1", *(f"best-of-n:n={n}" for n in (2, 4, 8, 16))]
samples = evaluate(
    {**roles, "n_ctx": 4096},  # room for 16 answers at once
    {spec: by_name(spec, vader) for spec in specs},
    [p.prompt for p in evaluation_prompts("held_out")][: args.num_prompts],
    Path("best-of-n-or-sss-run"),
    Judges(gold=AfinnReward(), training=vader, gold_name="AFINN", training_name="VADER"),
    EvaluateOptions(seeds=1),
)
summary = summarise(samples)
for row in summary.rows:
    print(f"{row.name:18} reward {row.gold:.3f}, {row.tokens_per_second.value:.1f} tokens/s")
print(advice(summary.equal["sss:strength=1"]))
