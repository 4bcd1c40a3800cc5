"""``rewardshift align --head``: a shift that is part of the target."""

import shlex
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from rewardshift.sources.hub import StrPath

from .options import option
from .render import amount, stdout
from .shifting import shifts_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rewardshift.shifts import Shift
    from rewardshift.train.head import HeadReport
    from rewardshift.train.head_training import HeadOptions
    from rewardshift.train.pairs import Pair

_option = partial(option, panel="A head")


@dataclass(frozen=True, kw_only=True)
class HeadFlags:
    """What a head needs."""

    head: Annotated[
        bool,
        _option(
            "--head",
            text="Make a head for a target of yours, a file of a few MB: `rewardshift align --head "
            "-m big.gguf HEAD`. It shifts that target alone, and needs no second model.",
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
            text="Learn what a dial, or a pair of yours, shifts; in place of preferences.",
            metavar="NAME|NAME=DRAFT:REFERENCE",
        ),
    ] = None

    def __post_init__(self) -> None:
        """Refuses a head without a target, and what goes with heads only."""
        if self.head and self.target is None:
            raise ValueError("--head needs the model whose head it is: -m big.gguf")
        for flag, value in (("--target", self.target), ("--from-shift", self.from_shift)):
            if value is not None and not self.head:
                raise ValueError(f"{flag} is for a head: --head")

    def shift(self) -> "tuple[str, Shift] | None":
        """The name of what is learned from, and that; None of preferences.

        Raises:
            ValueError: If there is no such shift, or it is a head.
        """
        if self.from_shift is None:
            return None
        try:
            ((name, shift),) = shifts_of([self.from_shift]).items()
        except ValueError as error:
            raise ValueError(str(error).replace("--shift", "--from-shift", 1)) from None
        if shift.head is not None:
            raise ValueError(f"--from-shift takes a pair, and {shift.head} is a head already")
        return name, shift


class HeadToMake:
    """Makes a head, and says what came of it."""

    def __init__(
        self,
        target: Path,
        path: Path,
        run: Path,
        *,
        beta: float,
        seed: int,
        lengths: "Mapping[str, int]",
    ) -> None:
        """Of a target.

        Args:
            target: GGUF.
            path: GGUF to write.
            run: Folder of the run.
            beta: DPO's.
            seed: Of everything.
            lengths: Rank and epochs, where they are given.
        """
        self._target = target
        self._path = path
        self._run = run
        self._beta = beta
        self._seed = seed
        self._lengths = dict(lengths)

    def learn_shift(
        self, name: str, shift: "Shift", asked: "Sequence[str] | None", **sampling: int
    ) -> None:
        """Learns from a pair."""
        from rewardshift.train.corpus import everyday_prompts
        from rewardshift.train.head import head_of_shift
        from rewardshift.train.head_texts import TextOptions

        texts = TextOptions(seed=self._seed, **sampling)
        report = head_of_shift(
            self._target,
            shift,
            asked or everyday_prompts(texts.prompts, self._seed),
            self._run,
            self._path,
            name=name,
            sampling=texts,
            options=self._options(),
        )
        without, left = report.measured["kl_without"], report.measured["kl"]
        self._tell(
            report,
            f"held out: the head explains {report.measured['explained']:.0%} of the shift (KL "
            f"{without:.3f} nats a position without it, {left:.3f} with it)",
        )

    def learn_preferences(self, pairs: "Sequence[Pair]", name: str) -> None:
        """Learns from preferences."""
        from rewardshift.train.head import head_of_preferences

        report = head_of_preferences(
            self._target, pairs, self._run, self._path, name=name, options=self._options()
        )
        self._tell(report, f"held-out preference accuracy: {report.measured['accuracy']:.3f}")

    def _options(self) -> "HeadOptions":
        from rewardshift.train.head_lessons import LessonOptions
        from rewardshift.train.head_training import HeadOptions

        lesson = LessonOptions(beta=self._beta, seed=self._seed)
        return HeadOptions(lesson=lesson, seed=self._seed, **self._lengths)

    def _tell(self, report: "HeadReport", measured: str) -> None:
        say = partial(stdout().print, soft_wrap=True)
        say(told_of_head(self._path, report))
        say(measured)
        if report.measured["epoch"] == 0:
            say(
                "what was learned made the held-out part no better: this head shifts nothing. More "
                "prompts, or more pairs, would help"
            )
        say(f"curves and figures: {self._run}")
        words = ["rewardshift", "chat", "-m", str(self._target), "--shift", f"mine={self._path}"]
        say(f"decode with it: {shlex.join(words)}")


def told_of_head(path: Path, report: "HeadReport") -> str:
    """Of what a head was made, and what that took."""
    size = amount(path.stat().st_size, "B")
    return (
        f"{path}: {size}, from {report.positions} positions, which the target took "
        f"{report.seconds:.0f} s to read and which take {amount(report.bytes, 'B')} on disk"
    )
