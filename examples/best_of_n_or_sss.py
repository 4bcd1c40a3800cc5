"""Best-of-N or SSS?

    python examples/best_of_n_or_sss.py  # the embedded pair
    python examples/best_of_n_or_sss.py big.gguf small-dpo.gguf small.gguf

Which N has the reward of SSS, and which of the two is faster there. Best-of-N chooses by VADER and
both are judged by AFINN. Run again, it goes on where it was stopped.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

from rewardshift import embedded
from rewardshift.evaluate import EvaluateOptions, Judges, evaluate, evaluation_prompts, summarise
from rewardshift.methods import by_name
from rewardshift.rewards import AfinnReward, VaderReward

parser = argparse.ArgumentParser()
parser.add_argument("models", nargs="*", help="target, draft and reference")
parser.add_argument("--n", type=int, default=30, help="prompts")
args = parser.parse_args()

roles = dict(zip(("target", "draft", "reference"), args.models, strict=False)) or embedded()
vader = VaderReward()
specs = ["sss:strength=1", *(f"best-of-n:n={n}" for n in (1, 2, 4, 8, 16))]
samples = evaluate(
    {**roles, "n_ctx": 4096},  # room for 16 answers at once
    {spec: by_name(spec, vader) for spec in specs},
    [p.prompt for p in evaluation_prompts("held_out")][: args.n],
    Path("best-of-n-or-sss-run"),
    Judges(gold=AfinnReward(), training=vader, gold_name="AFINN", training_name="VADER"),
    EvaluateOptions(seeds=1),
)
summary = summarise(samples)
for row in summary.rows:
    print(f"{row.name:16} reward {row.gold:.3f}, {row.tokens_per_second.value:.1f} tokens/s")
equal = summary.equal["sss:strength=1"]
if math.isinf(equal.n.value):
    print(f"No Best-of-N up to {equal.largest} has the reward of SSS: take SSS.")
else:
    faster = equal.speed_up
    print(f"Best-of-{equal.n.value:.1f} has its reward; SSS is {faster:.2f} times as fast there.")
    if faster.low > 1:
        print("Take SSS.")
    elif faster.high < 1:
        print("Take Best-of-N.")
    else:
        print("Too close to call: more prompts (--n) will tell.")
