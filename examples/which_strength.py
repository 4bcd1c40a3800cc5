"""Which strength should I decode with?

    python examples/which_strength.py  # the embedded pair
    python examples/which_strength.py big.gguf small-dpo.gguf small.gguf

Takes the strength of the highest reward among those whose text the target still finds likely, on
prompts that are for choosing, not for reporting. Run again, it goes on where it was stopped.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from rewardshift import embedded
from rewardshift.evaluate import EvaluateOptions, Judges, evaluate, evaluation_prompts, summarise
from rewardshift.methods import by_name
from rewardshift.rewards import AfinnReward, VaderReward

MOST = 1.25  # times the target's own perplexity

parser = argparse.ArgumentParser()
parser.add_argument("models", nargs="*", help="target, draft and reference")
parser.add_argument("--n", type=int, default=30, help="prompts")
args = parser.parse_args()

roles = dict(zip(("target", "draft", "reference"), args.models, strict=False)) or embedded()
specs = ["target", *(f"sss:strength={s}" for s in (0.25, 0.5, 0.75, 1, 1.5))]
judges = Judges(
    gold=AfinnReward(),  # put your own here: a function of a list of (prompt, response)
    training=VaderReward(),
    gold_name="AFINN",
    training_name="VADER",
)
samples = evaluate(
    roles,
    {spec: by_name(spec) for spec in specs},
    [p.prompt for p in evaluation_prompts("calibration")][: args.n],
    Path("which-strength-run"),
    judges,
    EvaluateOptions(seeds=1),
)
plain, *shifted = summarise(samples).rows
print(f"{'strength':>8} {'reward':>24} {'perplexity':>11} {'distinct-2':>11}")
for row in (plain, *shifted):
    likely = row.perplexity / plain.perplexity
    print(f"{row.strength or 0:8g} {row.gold:>24.3f} {likely:9.2f} x {row.distinct_2:11.2f}")
fit = [row for row in shifted if row.perplexity <= MOST * plain.perplexity]
if fit:
    best = max(fit, key=lambda row: row.gold.value)
    print(f"Take strength {best.strength:g}, unless the intervals say that less does as well.")
else:
    print(
        f"Every strength costs more than {MOST} times the perplexity: align the draft more mildly."
    )
