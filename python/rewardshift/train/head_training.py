"""Training a head, of any kind, on cached states."""

from __future__ import annotations

import json
import math
import time
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypeVar

import numpy as np
import torch
from torch import nn

from rewardshift.files.atomic import replacing
from rewardshift.progress import bars, is_shown

from .curves import draw_head
from .head_lessons import Lesson, LessonOptions, PairLesson, PreferenceLesson
from .shift_head import ShiftHead

if TYPE_CHECKING:
    from collections.abc import Mapping
    from dataclasses import Field
    from pathlib import Path

    from numpy.typing import NDArray

    from .target_states import States

H = TypeVar("H", bound=nn.Module)


class Pace(Protocol):
    """What the training asks of the options of a head, a dataclass."""

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]

    @property
    def learning_rate(self) -> float:
        """Highest; it falls like a cosine."""

    @property
    def epochs(self) -> int:
        """At most."""

    @property
    def patience(self) -> int:
        """Epochs without a smaller held-out loss before the training ends."""


@dataclass(frozen=True, slots=True)
class HeadOptions:
    """How to train.

    Attributes:
        rank: Numbers between the target's state and its vocabulary.
        learning_rate: Highest; it falls like a cosine.
        epochs: At most.
        patience: Epochs without a smaller held-out loss before the training ends.
        lesson: What is learned, and what only measures.
        seed: Of the head.
    """

    rank: int = 32
    learning_rate: float = 2e-3
    epochs: int = 8
    patience: int = 2
    lesson: LessonOptions = field(default_factory=LessonOptions)
    seed: int = 1


def learn_pair(
    states: States,
    prompts: NDArray[np.integer],
    strength: float,
    run: Path,
    options: HeadOptions,
    *,
    progress: bool | None = None,
) -> tuple[ShiftHead, dict[str, float]]:
    """A head that shifts as a pair does.

    Args:
        states: With the pair's log-ratios.
        prompts: The number of each text's prompt.
        strength: At which the laws of pair and head are compared.
        run: As in ``train``, which says the rest.
        options: How.
        progress: Whether to show progress; None shows it on a terminal.
    """
    head = _new_head(states, options)
    lesson = PairLesson(states, prompts, strength, head, options.lesson)
    about = {"states": states.digest(), "strength": strength}
    return head, train(head, lesson, run, options, about, progress=progress)


def learn_preferences(
    states: States,
    prompts: NDArray[np.integer],
    run: Path,
    options: HeadOptions,
    *,
    progress: bool | None = None,
) -> tuple[ShiftHead, dict[str, float]]:
    """A head that prefers what is preferred.

    Args:
        states: Of the better and the worse response of each pair, one behind the other.
        prompts: The number of each pair's prompt.
        run: As in ``train``, which says the rest.
        options: How.
        progress: Whether to show progress; None shows it on a terminal.
    """
    head = _new_head(states, options)
    lesson = PreferenceLesson(states, prompts, head, options.lesson)
    return head, train(head, lesson, run, options, {"states": states.digest()}, progress=progress)


def _new_head(states: States, options: HeadOptions) -> ShiftHead:
    tokens = np.union1d(states.ids, states.following).astype(np.int32)
    return ShiftHead(states.states, tokens, rank=options.rank, seed=options.seed)


def train(
    head: H,
    lesson: Lesson[H],
    run: Path,
    options: Pace,
    learned_from: Mapping[str, object],
    *,
    progress: bool | None = None,
) -> dict[str, float]:
    """Trains a head, to the weights of the least held-out loss; goes on from the last epoch.

    What was trained in the folder with other options, or from other states, is not gone on with:
    all that takes long is in the states, and they stay.

    Args:
        head: A new one.
        lesson: What it learns.
        run: Folder for the checkpoint, ``head.json`` (the options) and ``head.jsonl`` (what was
            measured after each epoch, the first before any), with a picture of it.
        options: How.
        learned_from: What tells the lesson from others.
        progress: Whether to show progress; None shows it on a terminal.

    Returns:
        What was measured then.
    """
    _drop_others(run, {**asdict(options), **learned_from})
    training = _Training(head, options, run)
    with bars(shown=is_shown(progress), with_time_left=True) as display:
        task = display.add_task("training", total=options.epochs, completed=training.epoch)
        if training.epoch == 0 and not training.history:
            training.note(lesson.measure(head))
        while training.epoch < options.epochs and not training.is_over:
            batches = list(lesson.batches(training.epoch))
            for number, batch in enumerate(batches):
                done = (training.epoch + number / len(batches)) / options.epochs
                training.step(lesson.loss(head, batch, done=done), done=done)
                display.advance(task, 1 / len(batches))
            training.epoch += 1
            training.note(lesson.measure(head))
    draw_head(run)
    return training.finish()


def _drop_others(run: Path, about: Mapping[str, object]) -> None:
    """Writes what a training is of, and drops the checkpoint of another one."""
    path, now = run / "head.json", json.dumps(about, indent=2) + "\n"
    if path.exists() and path.read_text(encoding="utf-8") == now:
        return
    run.mkdir(parents=True, exist_ok=True)
    (run / "head.pt").unlink(missing_ok=True)
    with replacing(path) as fresh:
        fresh.write_text(now, encoding="utf-8")


class _Training:
    """A head, its optimiser, and how far they are."""

    def __init__(self, head: nn.Module, options: Pace, run: Path) -> None:
        self._head = head
        self._options = options
        self._run = run
        self._optimiser = torch.optim.Adam(head.parameters(), lr=options.learning_rate)
        self._begun = time.monotonic()
        self._best: dict[str, Any] = {}
        self.epoch = 0
        self.history: list[dict[str, float]] = []
        if (checkpoint := run / "head.pt").exists():
            self._restore(torch.load(checkpoint, weights_only=True, map_location="cpu"))

    @property
    def is_over(self) -> bool:
        """Whether the held-out loss has not become smaller for too long."""
        return self.epoch - self._best_epoch >= self._options.patience

    @property
    def _best_epoch(self) -> int:
        losses = [row["loss"] for row in self.history]
        return losses.index(min(losses))

    def step(self, loss: torch.Tensor, *, done: float) -> None:
        """Learns from a batch, before which the share ``done`` of the training came."""
        for group in self._optimiser.param_groups:
            group["lr"] = self._options.learning_rate * 0.5 * (1 + math.cos(math.pi * done))
        self._optimiser.zero_grad()
        loss.backward()
        self._optimiser.step()

    def note(self, measured: dict[str, float]) -> None:
        """Keeps what an epoch came to, on disk too."""
        seconds = round(time.monotonic() - self._begun, 1)
        self.history.append({"epoch": self.epoch, "seconds": seconds, **measured})
        if self._best_epoch == self.epoch:
            self._best = {k: v.clone() for k, v in self._head.state_dict().items()}
        state = {
            "head": self._head.state_dict(),
            "best": self._best,
            "optimiser": self._optimiser.state_dict(),
            "epoch": self.epoch,
            "history": self.history,
        }
        with replacing(self._run / "head.pt") as fresh:
            torch.save(state, fresh)
        with replacing(self._run / "head.jsonl") as fresh:
            fresh.write_text("".join(json.dumps(row) + "\n" for row in self.history))

    def finish(self) -> dict[str, float]:
        """Puts the best weights into the head; returns what was measured with them."""
        self._head.load_state_dict(self._best)
        return self.history[self._best_epoch]

    def _restore(self, state: dict[str, Any]) -> None:
        self._head.load_state_dict(state["head"])
        self._optimiser.load_state_dict(state["optimiser"])
        self._best, self.epoch, self.history = state["best"], state["epoch"], state["history"]
        self._begun -= self.history[-1]["seconds"]
