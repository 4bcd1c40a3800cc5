"""Is my draft aligned enough to shift my target, and how far?

    python examples/is_my_draft_aligned_enough.py  # the embedded pair
    python examples/is_my_draft_aligned_enough.py big.gguf small-dpo.gguf small.gguf

The answer is in the words at the end. For whether the draft prefers what it should, give
`check_pair` preferences of yours that it was not trained on (read_preferences reads a file).
"""

from __future__ import annotations

import argparse

from rewardshift import embedded
from rewardshift.check import CheckOptions, check_pair, verdict
from rewardshift.evaluate import evaluation_prompts

parser = argparse.ArgumentParser()
parser.add_argument("models", nargs="*", help="target, draft and reference")
parser.add_argument("--num-prompts", type=int, default=20, help="prompts")
args = parser.parse_args()
if len(args.models) not in (0, 3):
    parser.error("give a target, a draft and a reference, or none for the embedded pair")

roles = dict(zip(("target", "draft", "reference"), args.models, strict=False)) or embedded()
prompts = [p.prompt for p in evaluation_prompts("calibration")][: args.num_prompts]
options = CheckOptions(strengths=(0.5, 1.0, 1.5, 2.0))
report = check_pair(roles, prompts, options)

print("accepted drafts by temperature:")
for row in report.temperatures:
    if row.acceptance is not None:
        print(f"  {row.temperature:g}: {row.acceptance:.2f}")
print("Z by strength, middle 90 %:")
for row in report.strengths:
    if row.z is not None:
        print(f"  {row.strength:g}: {row.z[0]:.2f} to {row.z[4]:.2f}")
for sentence in verdict(report, temperature=options.temperature).sentences:
    print(sentence)
