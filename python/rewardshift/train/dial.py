"""What was aligned becomes a dial of the user's: description, and a card of what is known of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rewardshift import _core
from rewardshift.dials.catalogue import is_ours
from rewardshift.dials.dial import (
    CARD,
    DESCRIPTION,
    Dial,
    Strengths,
    read_dial,
    require_dial_name,
    write_dial,
)
from rewardshift.dials.references import keep_reference
from rewardshift.files.atomic import replacing
from rewardshift.sources.folders import dials_root

from .align import AlignOptions, split

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from .pairs import Pair, PairOptions

ADAPTER = "adapter.gguf"


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What the card of a new dial can say.

    Attributes:
        command: What made it.
        preferred_by: Whose preferences it was trained on: a reward, or a file of pairs.
        asked: What the prompts are.
        sampling: How pairs were sampled; None where they were given.
        pairs: All of them.
        training: How it was trained on them.
        accuracy: Share of held-out pairs whose better response has more implicit reward.
    """

    command: str
    preferred_by: str
    asked: str
    sampling: PairOptions | None
    pairs: Sequence[Pair]
    training: AlignOptions
    accuracy: float

    @property
    def held_out(self) -> int:
        """Pairs that only measured."""
        return len(split(self.pairs, self.training)[1])


def folders_of(name: str) -> tuple[Path, Path]:
    """Where a user's dial of a name goes, and the run that makes it.

    Raises:
        ValueError: If that cannot be a dial's name, or is one of the package's.
    """
    require_dial_name(name)
    if is_ours(name):
        raise ValueError(f"the package has a dial {name!r}: give yours another name")
    return dials_root() / name, dials_root() / "runs" / name


def write_user_dial(
    folder: Path, reference: Path, *, does: str, licence: str, facts: Facts
) -> tuple[Dial, Path]:
    """Writes description and card beside an adapter, and keeps the reference that it belongs to.

    A dial that was there keeps its strengths, and its card, which may have been written on: the new
    one is then put beside it.

    Args:
        folder: With the adapter in it.
        reference: GGUF that the adapter was trained on.
        does: What a target does more with the dial.
        licence: Of its files.
        facts: For the card.

    Returns:
        The dial, and the card that was written.
    """
    known = folder / DESCRIPTION
    strengths = read_dial(folder).strengths if known.exists() else Strengths()
    dial = Dial(
        folder=folder,
        does=does,
        strengths=strengths,
        licence=licence,
        adapter=folder / ADAPTER,
        reference_sha256=keep_reference(reference),
    )
    card = dial.card if not dial.card.exists() else dial.card.with_name(f"new-{CARD}")
    with replacing(card) as fresh:
        fresh.write_text(_card(dial, reference, facts), encoding="utf-8")
    write_dial(dial)
    return dial, card


def _card(dial: Dial, reference: Path, facts: Facts) -> str:
    usual = dial.strengths
    about = {
        "strength": f"{usual.same_vocabulary:g} for targets of the reference's vocabulary, "
        f"{usual.other_vocabulary:g} for all others; `{DESCRIPTION}` says so, change it there",
        "reference": f"{reference.name}, {_megabytes(reference)}, SHA-256 {dial.reference_sha256}",
        "adapter": f"{_megabytes(dial.adapter)}, F16",
        "licence": dial.licence,
    }
    return f"""\
# The dial {dial.name}

A target {dial.does}. An adapter on a reference, made by `rewardshift align`.

{_table(about)}
## How it was made

```text
{facts.command}
```

{_table(_how(facts))}
## What it does

It prefers what {facts.preferred_by} prefers in {facts.accuracy:.0%} of {facts.held_out} held-out
pairs. What it does to a target is not measured yet, and its strengths were not chosen by that.
Judge it by another reward than what it was trained by:

```text
rewardshift check-pair -m TARGET --shift {dial.name}
rewardshift eval -m TARGET --shift {dial.name} --reward WHAT-TRAINED-IT --gold ANOTHER
```

## Limits

- To be written: for which language, subjects and lengths it was made, and what else it does.
"""


def _how(facts: Facts) -> dict[str, str]:
    how, sampled = facts.training, facts.sampling
    preferences = f"of {facts.preferred_by}"
    if sampled is not None:
        preferences = (
            f"{sampled.prompts} prompts, {facts.asked}; {sampled.samples} responses of the "
            f"reference to each, of at most {sampled.max_tokens} tokens at temperature "
            f"{sampled.temperature:g}; the best and the worst by {facts.preferred_by} make a pair, "
            f"if they differ by {sampled.min_margin:g}"
        )
    return {
        "preferences": preferences,
        "pairs": f"{len(facts.pairs)}, of which {facts.held_out} only measured",
        "DPO": f"beta {how.beta:g}, LoRA of rank {how.rank} and alpha {how.alpha:g} on all linear "
        f"layers, learning rate {how.learning_rate:g}, {how.batch} pairs a step, at most "
        f"{how.epochs} epochs; the weights of the least held-out loss",
        "seed": str(how.seed),
        "made with": f"rewardshift {_core.version}, compiled for {_core.cpu}",
    }


def _table(rows: Mapping[str, str]) -> str:
    lines = ["| | |", "|---|---|", *(f"| {name} | {text} |" for name, text in rows.items())]
    return "".join(f"{line}\n" for line in lines)


def _megabytes(path: Path) -> str:
    return f"{path.stat().st_size / 1e6:.2f} MB"
