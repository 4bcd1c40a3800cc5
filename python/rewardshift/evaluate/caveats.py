"""What a reader must not conclude from a run: some of it always, some because of its numbers."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

from .beside import is_beside
from .spec import TARGET

if TYPE_CHECKING:
    from .summary import Row, Summary

_FEW_PROMPTS = 100
_APART = 0.2
"""Share by which lengths may differ before times per answer mislead."""
_GOOD_TEXT = 1.5
"""Times the target's perplexity, up to which a text is still much like the target's."""
_TUNED = ("args", "cards", "gsi", "rsd", "soft-best-of")
"""Methods with thresholds or weights on a reward's scale."""

_OF_GOLD = (
    "That a method scores higher does not say that people like its answers better, nor that they "
    "are true."
)
_NOT_MEASURED = "how large an N would, and what it would cost, was not measured."
_OF_MODELS = (
    "Numbers are of these models and prompts. Other models shift, accept and cost differently; so "
    "do larger ones of the same family."
)
_OF_DIFFERENCES = (
    "Two methods differ in gold reward where the interval of their difference leaves out 0; it is "
    "shown for those against the baseline (`--against` names another). Whether the brackets of two "
    "methods overlap says nothing by itself: they answered the same prompts."
)
_OF_SPEED = (
    "Speeds are of this machine and build. Ratios travel better than tokens a second, but not to a "
    "GPU, nor to another type of weights."
)
_OF_OTHER_RUNS = "were timed in another run: compare their speeds among themselves."
_OF_TIMES = "The prompt's evaluation is not in the times: every model had seen it."
_OF_THRESHOLDS = (
    "Thresholds and weights of ARGS, CARDS, GSI, RSD and soft Best-of-N suit the rewards of their "
    "papers; only CARDS' r* was adapted."
)
_OF_GREED = "ARGS is greedy: it has one answer to a prompt, whatever the seed."
_OF_DRAFTS = (
    "SSS drafts a fixed number of tokens a round (3 unless given), because answers are seeded. "
    "Without a seed the decoder chooses what is fastest."
)


def caveats(summary: Summary, gold_name: str) -> list[str]:
    """Sentences, those that always hold first."""
    return [
        f"The gold reward, {gold_name}, is one measure. {_OF_GOLD}",
        _OF_MODELS,
        _OF_SPEED,
        _OF_TIMES,
        *([] if summary.baseline is None else [_OF_DIFFERENCES]),
        *_of_size(summary),
        *_of_reach(summary),
        *_of_other_runs(summary),
        *_of_methods(summary),
        *_of_text(summary),
    ]


def _of_size(summary: Summary) -> list[str]:
    said = []
    if summary.prompts < _FEW_PROMPTS:
        said.append(f"{summary.prompts} prompts are few: small differences do not show.")
    if summary.seeds == 1:
        said.append(
            "With one seed there is one answer to a prompt: self-BLEU is unknown, and what varies "
            "from answer to answer is mixed with what varies from prompt to prompt."
        )
    return said


def _of_reach(summary: Summary) -> list[str]:
    """On Best-of-N that was not run far enough."""
    beyond = [
        summary.row(m).name for m, found in summary.equal.items() if math.isinf(found.n.value)
    ]
    if not beyond:
        return []
    largest = next(iter(summary.equal.values())).largest
    names = ", ".join(beyond)
    return [
        f"No Best-of-N up to {largest} has the gold reward of {names}: {_NOT_MEASURED}",
    ]


def _of_other_runs(summary: Summary) -> list[str]:
    names = [row.name for row in summary.rows if is_beside(row.method)]
    return [f"{', '.join(names)} {_OF_OTHER_RUNS}"] if names else []


def _of_methods(summary: Summary) -> list[str]:
    """On what the methods that were run are set to, and what they left out."""
    kinds = {_kind(row) for row in summary.rows}
    greedy = any(
        _kind(r) == "args" and "stochastic=true" not in r.method.lower() for r in summary.rows
    )
    return [
        *(
            f"{row.name} never asked the target: its answers are the draft's."
            for row in summary.rows
            if row.calls.get("draft") and not row.calls[TARGET]
        ),
        *([_OF_THRESHOLDS] if kinds.intersection(_TUNED) else []),
        *([_OF_GREED] if greedy else []),
        *([_OF_DRAFTS] if "sss" in kinds else []),
    ]


def _kind(row: Row) -> str:
    """What a method's name starts with: "soft-best-of" of "soft-best-of-8 beta=1"."""
    words = re.match(r"[a-z]+(-[a-z]+)*", row.name)
    return words[0] if words else ""


def _of_text(summary: Summary) -> list[str]:
    said = []
    far = [
        row.name
        for row in summary.rows
        if row.best_of is None  # whose answers are the target's own
        and row.perplexity_ratio is not None
        and row.perplexity_ratio.low > _GOOD_TEXT
    ]
    if far:
        said.append(
            f"The target finds the answers of {', '.join(far)} unlikely (over {_GOOD_TEXT:g} times "
            "its own perplexity): their reward may be bought with worse text."
        )
    lengths = [row.tokens for row in summary.rows]
    if max(lengths) > (1 + _APART) * min(lengths):
        said.append(
            f"Answers differ in length ({min(lengths):.0f} to {max(lengths):.0f} tokens on "
            "average): compare tokens a second, not seconds per answer, and know that distinct-n "
            "falls with length."
        )
    return said
