"""What a head that drafts brings to its target, lossless and beside a dial, beside plain text.

    rewardshift distill --head a.gguf a.base.gguf
    python benchmarks/base_heads.py -m a.gguf --base a.base.gguf
    python benchmarks/base_heads.py -m a.gguf --base a.base.gguf --other student.gguf

One table, over held-out prompts of the package: tokens a round, the share of drafts that is
accepted, and tokens/s, as drafts are asked for and as the policy chooses. The aligned ways are the
dial at its usual strength: nothing drafted, drafts of the head, and drafts of the dial itself where
it speaks the target's vocabulary. Nothing else should run meanwhile.
"""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from dials import named_target

from rewardshift import Decoder
from rewardshift.bench import Range, Task, endless, interleave, one_by_one, ratios, table
from rewardshift.cli.render import stdout
from rewardshift.evaluate import evaluation_prompts

if TYPE_CHECKING:
    from rewardshift.bench import Sample

PLAIN = "plain"


class Ways:
    """Decoders, and what they are asked."""

    def __init__(self, args: argparse.Namespace) -> None:
        target = named_target(args.target)[1]
        bases = {"head": args.base, **({"other": args.other} if args.other else {})}
        self._asked = [p.prompt for p in evaluation_prompts("held_out")][: args.num_prompts]
        self._tokens = args.tokens
        self._temperature = args.temperature
        self.runs: dict[str, partial[Sample]] = {}
        alone = Decoder(target, n_ctx=1024)
        aligned = Decoder(target, shift=args.dial, n_ctx=1024)
        self._add(PLAIN, alone, 0)
        self._add("aligned", aligned, 0)
        for name, base in bases.items():
            lossless = Decoder(target, base=base, n_ctx=1024)
            both = Decoder(target, base=base, shift=args.dial, n_ctx=1024)
            for k in (*args.lengths, None):
                self._add(f"{name}, {_told(k)}", lossless, k)
                self._add(f"aligned, {name}, {_told(k)}", both, k)
        for k in (*args.lengths, None):
            if not aligned.has_own_vocabulary("draft"):
                self._add(f"aligned, dial, {_told(k)}", aligned, k)

    def _add(self, name: str, decoder: Decoder, k: int | None) -> None:
        prompts = (
            decoder.chat_prompts_by_shift([{"role": "user", "content": text}])
            for text in self._asked
        )
        options = {
            "max_tokens": self._tokens,
            "temperature": self._temperature,
            "logit_bias": endless(decoder),
            **({} if k is None else {"num_draft_tokens": k}),
        }
        tasks = [Task(prompt, by_draft or None) for prompt, by_draft in prompts]
        self.runs[name] = partial(one_by_one, decoder, tasks, options)


def _told(k: int | None) -> str:
    return "as the policy chooses" if k is None else f"K = {k}"


def main() -> None:
    """Measures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("-m", "--target", default="smollm2", help="a GGUF file")
    parser.add_argument("--base", type=Path, required=True, help="a head that drafts")
    parser.add_argument("--other", type=Path, help="another base, such as a student")
    parser.add_argument("--dial", default="positive")
    parser.add_argument("--lengths", type=int, nargs="+", default=(1, 3))
    parser.add_argument("--num-prompts", type=int, default=10)
    parser.add_argument("--tokens", type=int, default=96, help="per answer")
    parser.add_argument("--temperature", type=float, default=0.8)
    parser.add_argument("--repeat", type=int, default=3)
    args = parser.parse_args()
    found = interleave(Ways(args).runs, repeat=args.repeat, what="speeds")
    plain = [sample.speed for sample in found[PLAIN]]
    rows = [
        [
            name,
            f"{median(s.tokens_per_round for s in samples):.2f}",
            f"{median(s.acceptance for s in samples):.2f}" if samples[0].drafted else "",
            f"{Range.of([s.speed for s in samples]):.4g}",
            f"{Range.of(ratios([s.speed for s in samples], plain)):.3f}",
        ]
        for name, samples in found.items()
    ]
    note = "Medians (and ranges) of the repetitions; speeds after each answer's first chunk."
    columns = ["", "a round", "accepted", "tokens/s", "÷ plain"]
    stdout().print(table("drafts of a head", columns, rows, note=note))


if __name__ == "__main__":
    main()
