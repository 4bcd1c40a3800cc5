"""``rewardshift distill --head``: a draft that is part of the target."""

import shlex
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from .align_head import told_of_head
from .options import option
from .render import stdout

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_option = partial(option, panel="A head")


@dataclass(frozen=True, kw_only=True)
class DraftHeadFlags:
    """What a head needs."""

    head: Annotated[
        bool,
        _option(
            "--head",
            text="Make a head for that target, a file of a few MB: it drafts from the target's own "
            "states, and needs no second model.",
        ),
    ] = False
    epochs: Annotated[
        int | None,
        _option("--epochs", text="Of a head, at most: 10 unless given.", metavar="N", least=1),
    ] = None

    def require(self, of_students: "Mapping[str, object]") -> None:
        """Raises ValueError, naming a flag, if it is for the other of the two.

        Args:
            of_students: What the user gave that is for students only, by flag.
        """
        if not self.head and self.epochs is not None:
            raise ValueError("--epochs is for a head: --head; a student has --tokens to learn from")
        given = [flag for flag, value in of_students.items() if value is not None]
        if self.head and given:
            raise ValueError(f"{given[0]} is for a student, and --head makes none: leave it out")


def distill_head(
    target: Path,
    path: Path,
    run: Path,
    asked: "Sequence[str] | None",
    *,
    sampling: "Mapping[str, Any]",
    training: "Mapping[str, Any]",
    seed: int,
) -> None:
    """Makes a head that drafts, and says what came of it.

    Args:
        target: GGUF.
        path: GGUF to write.
        run: Folder of the run.
        asked: The user's prompts; None asks the built-in ones.
        sampling: What the user gave of ``CorpusOptions``.
        training: What the user gave of ``BaseHeadOptions``.
        seed: Of everything.
    """
    from rewardshift.train.base_training import BaseHeadOptions
    from rewardshift.train.head import BASE_CORPUS, BASE_STATES, base_head_of

    options = BaseHeadOptions(seed=seed, **training)
    path.parent.mkdir(parents=True, exist_ok=True)
    report = base_head_of(
        target,
        asked,
        run,
        path,
        name=path.stem,
        sampling=replace(BASE_CORPUS, seed=seed, **sampling),
        keeping=replace(BASE_STATES, seed=seed),
        options=options,
    )
    measured = report.measured
    shares = [value for name, value in measured.items() if name.startswith("acceptance_")]
    say = partial(stdout().print, soft_wrap=True)
    say(told_of_head(path, report))
    say(
        f"held-out acceptance at temperature 0.8, by position: "
        f"{', '.join(f'{share:.3f}' for share in shares)}; with three drafts "
        f"{measured['tokens_a_round']:.2f} tokens a round"
    )
    say(f"curves and figures: {run}")
    words = ["rewardshift", "chat", "-m", str(target), "--base", str(path)]
    say(f"decode with it: {shlex.join(words)}")
