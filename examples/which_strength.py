"""Which strength should I decode with?

    python examples/which_strength.py  # the embedded pair
    python examples/which_strength.py big.gguf small-dpo.gguf small.gguf

Takes the least strength that may well have the highest reward (the 95 % interval of the difference
to it has 0 in it) among those whose text the target still finds likely. Its prompts are for
choosing, not for reporting. Run again, it goes on where it was stopped.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from rewardshift import embedded
from rewardshift.evaluate import (
    EvaluateOptions,
    Interval,
    Judges,
    Row,
    Sample,
    evaluate,
    evaluation_prompts,
    summarise,
)
from rewardshift.evaluate.statistics import bootstrap, mean_of
from rewardshift.methods import by_name
from rewardshift.rewards import AfinnReward, VaderReward

MOST = 1.25  # times the target's own perplexity


def gained(samples: list[Sample], row: Row, other: Row) -> Interval:
    """How much more reward one method has than another, prompt by prompt."""
    ours, theirs = ([s.gold for s in samples if s.method == r.method] for r in (row, other))
    return bootstrap(mean_of(np.subtract(ours, theirs)[:, None]), len(ours))


def advice(samples: list[Sample]) -> str:
    """The strength to take; the first of the rows is the target's."""
    rows = summarise(samples).rows
    fit = [row for row in rows if row.perplexity_ratio.value <= MOST]
    best = max(fit, key=lambda row: row.gold.value)
    least = next(row for row in fit if not gained(samples, best, row).low > 0)
    if least.strength:
        return f"Take strength {least.strength:g}: nothing here has surely more reward."
    if len(fit) == 1:
        return f"All cost more than {MOST} times the perplexity: align the draft more mildly."
    return "None has surely more reward than the target alone: more prompts (--n) may tell."


parser = argparse.ArgumentParser()
parser.add_argument("models", nargs="*", help="target, draft and reference")
parser.add_argument("--num-prompts", type=int, default=30, help="prompts")
args = parser.parse_args()
if len(args.models) not in (0, 3):
    parser.error("give a target, a draft and a reference, or none for the embedded pair")

roles = dict(zip(("target", "draft", "reference"), args.models, strict=False)) or embedded()
specs = ["target", *(f"sss:strength={s}" for s in (0.25, 0.5, 0.75, 1, 1.5))]
gold = AfinnReward()  # put your own here: a function of a list of (prompt, response)
samples = evaluate(
    roles,
    {spec: by_name(spec) for spec in specs},
    [p.prompt for p in evaluation_prompts("calibration")][: args.num_prompts],
    Path("which-strength-run"),
    Judges(gold=gold, training=VaderReward(), gold_name="AFINN", training_name="VADER"),
    EvaluateOptions(seeds=1),
)
rows = summarise(samples).rows
print("strength, reward, reward more than the last one's, perplexity, distinct-2")
for last, row in zip((rows[0], *rows), rows, strict=False):
    likely = f"{row.perplexity_ratio.value:.2f} x"
    more = gained(samples, row, last)
    print(f"{row.strength or 0:g}: {row.gold:.3f}, {more:+.3f}, {likely}, {row.distinct_2:.2f}")
print(advice(samples))
