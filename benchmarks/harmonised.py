"""What HASS's two halves bring to a head that drafts: learning from states of its own, and top-K.

    rewardshift distill --head a.gguf a.base.gguf
    python benchmarks/harmonised.py -m a.gguf --run a.base-run

Trains a head with each setting on what was cached in the run of another one, from one beginning,
each for as many epochs; an epoch meets a position once, so that fewer steps ahead are more updates.
On held-out prompts: acceptance by position where the drafts before were accepted, and tokens a
round of three drafts, at temperature 0.8; and what each has more than the first setting, with a
95 % bootstrap interval over prompts.
Trainings go on where they were stopped.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rewardshift.bench import table
from rewardshift.cli.render import stdout
from rewardshift.evaluate.statistics import bootstrap
from rewardshift.train.base_lesson import ROUND, BaseLesson
from rewardshift.train.base_training import BaseHeadOptions, learn_base
from rewardshift.train.head import BASE_STATES, read_responses

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rewardshift.evaluate.statistics import Array

SETTINGS: dict[str, dict[str, Any]] = {
    "true states only": {"self_fed_steps": 1},
    "2 self-fed steps": {"self_fed_steps": 2},
    "3 self-fed steps": {"self_fed_steps": 3},
    "4 self-fed steps": {"self_fed_steps": 4},
    "3, without top-K": {"self_fed_steps": 3, "top_k": 0},
    "3, without LK": {"self_fed_steps": 3, "warm": 1.0},
}


def main() -> None:
    """Trains what is not trained yet, and prints the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("-m", "--target", type=Path, required=True, help="a GGUF file")
    parser.add_argument("--run", type=Path, required=True, help="of `rewardshift distill --head`")
    parser.add_argument("--only", nargs="+", choices=SETTINGS, default=list(SETTINGS))
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--vocabulary", type=int, default=8192)
    args = parser.parse_args()
    read = read_responses(args.target, args.run, vocabulary=args.vocabulary)
    usual = BaseHeadOptions(vocabulary=args.vocabulary, epochs=args.epochs, patience=args.epochs)
    lesson = BaseLesson(read.cache.states, read.prompts, usual, likely=BASE_STATES.likely)
    rounds = {}
    for name in args.only:
        options = replace(usual, **SETTINGS[name])
        folder = args.run / "settings" / name.replace(" ", "-").replace(",", "")
        head, _ = learn_base(
            args.target,
            read.cache,
            read.prompts,
            read.tokens,
            folder,
            options,
            likely=BASE_STATES.likely,
        )
        rounds[name] = Rounds.of(*lesson.outcomes(head), read.prompts[lesson.measured_texts])
    rows = [rounds[name].row(name, rounds[args.only[0]]) for name in args.only]
    columns = ["", *(f"position {j + 1}" for j in range(ROUND)), "tokens a round", "more"]
    note = f"{len(lesson.measured_texts)} positions of prompts that nothing was learned from."
    stdout().print(table("settings of a head", columns, rows, note=note))


@dataclass(frozen=True)
class Rounds:
    """How often rounds came to a draft, and accepted it, by prompt: [steps, prompts] each."""

    reached: Array
    accepted: Array

    @classmethod
    def of(cls, reached: Array, accepted: Array, prompts: NDArray[np.integer]) -> Rounds:
        """Of positions, [steps, n], and the prompt of each."""
        numbers = np.unique(prompts, return_inverse=True)[1]
        sums = [
            np.stack([np.bincount(numbers, row) for row in values])
            for values in (reached, reached * accepted)
        ]
        return cls(sums[0][:ROUND], sums[1][:ROUND])

    def shares(self, drawn: NDArray[np.intp]) -> Array:
        """Acceptance by position for some draws of prompts, [steps, times]."""
        shares: Array = self.accepted[:, drawn].sum(-1) / self.reached[:, drawn].sum(-1)
        return shares

    def brought(self, drawn: NDArray[np.intp]) -> Array:
        """Tokens of a round, [times]."""
        return 1 + self.shares(drawn).cumprod(0).sum(0)

    def row(self, name: str, first: Rounds) -> list[str]:
        """A line of the table, beside the first setting."""
        prompts = self.reached.shape[1]
        everyone = np.arange(prompts)[None]
        more = bootstrap(lambda drawn: self.brought(drawn) - first.brought(drawn), prompts)
        return [
            name,
            *(f"{share:.3f}" for share in self.shares(everyone)[:, 0]),
            f"{self.brought(everyone)[0]:.3f}",
            "" if self is first else f"{more:+.3f}",
        ]


if __name__ == "__main__":
    main()
