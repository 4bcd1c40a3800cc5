"""``rewardshift align --head``: a shift that is part of the target."""

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from rewardshift.hub import local_path
from rewardshift.sources.hub import StrPath

from .options import option
from .render import amount, stdout
from .shifting import shifts_of

if TYPE_CHECKING:
    from rewardshift.shifts import Shift
    from rewardshift.train.head_training import HeadOptions
    from rewardshift.train.pairs import Pair
    from rewardshift.train.shift_head import ShiftHead
    from rewardshift.train.target_states import Cache

_option = partial(option, panel="A head")


@dataclass(frozen=True, kw_only=True)
class HeadFlags:
    """What a head needs."""

    head: Annotated[
        bool,
        _option(
            "--head",
            text="Make a head for a target of yours in place of an adapter: a file that shifts "
            "that target alone, without a second model.",
        ),
    ] = False
    target: Annotated[
        StrPath | None,
        _option("-m", "--target", text="GGUF whose head it is.", metavar="GGUF"),
    ] = None
    from_shift: Annotated[
        str | None,
        _option(
            "--from-shift",
            text="Learn what this dial or pair of yours shifts, in place of preferences.",
            metavar="NAME|NAME=DRAFT:REFERENCE",
        ),
    ] = None

    def __post_init__(self) -> None:
        """Refuses what goes with a head only, and a head without a target."""
        if self.head and self.target is None:
            raise ValueError("--head needs the model whose head it is: -m big.gguf")
        if not self.head and (self.target is not None or self.from_shift is not None):
            flag = "--from-shift" if self.from_shift is not None else "--target"
            raise ValueError(f"{flag} is for a head: --head")

    def shift(self) -> tuple[str, "Shift"] | None:
        """What is learned from, and its name; None are preferences.

        Raises:
            ValueError: If there is no such shift.
        """
        if self.from_shift is None:
            return None
        return next(iter(shifts_of([self.from_shift]).items()))


@dataclass(frozen=True, kw_only=True)
class Made:
    """A head that was trained, and what it learned from."""

    head: "ShiftHead"
    cache: "Cache"
    strength: float


def head_of_shift(
    target: Path, shift: "Shift", prompts: list[str], run: Path, options: "HeadOptions", **sampling: int
) -> Made:
    """A head that shifts as a pair does."""
    import numpy as np

    from rewardshift.train.head_texts import TextOptions, sample_texts
    from rewardshift.train.head_training import learn_pair
    from rewardshift.train.target_states import StateOptions, cache_states

    texts = sample_texts(target, shift, prompts, run / "texts.jsonl", TextOptions(**sampling))
    cache = cache_states(target, texts, run / "states", StateOptions(), shift=shift)
    prompts_of_texts = np.arange(len(texts)) // 2
    head, found = learn_pair(cache.states, prompts_of_texts, cache.strength, run, options)
    return Made(head=head, cache=cache, strength=cache.strength)
