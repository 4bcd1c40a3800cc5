"""Distillation: a student learns to say what the target says."""

from __future__ import annotations

import json
import time
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field, fields
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from rewardshift.files.run_options import keep_options
from rewardshift.progress import bars, is_shown

from . import loss
from .corpus import load_all
from .curves import draw_distillation
from .export import write_student
from .lesson import PartReader, Reader
from .muon import Muon
from .precision import fast_dtype
from .rounding import rounded, standing_in
from .student import Shape, new_student, old_student, save_checkpoint
from .vocabulary import GgufVocabulary, counts_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from numpy.typing import NDArray
    from torch import Tensor
    from transformers import LlamaForCausalLM

    from .corpus import Response
    from .lesson import Lesson


@dataclass(frozen=True, slots=True)
class DistillOptions:
    """How to train.

    Attributes:
        shape: The student's.
        vocabulary: How many of the target's tokens the student has, the commonest; None: all.
        tokens: How many of its tokens to learn from, repetitions counted.
        batch_tokens: Tokens evaluated together, prompts included.
        batches: Of which one step consists.
        learning_rate: Of the matrices inside (Muon), highest.
        embedding_rate: Of everything else (Adam), highest.
        top_k: Most probable tokens of the target that count.
        other_candidates: Further tokens that stand for the rest of the vocabulary.
        acceptance_from: Share of the training after which acceptance replaces cross-entropy.
        kind: Type of the weights that are written, of ``rewardshift.train.export.WEIGHT_TYPES``.
        rounded_from: Share of the training after which weights count as they will be written.
        temperatures: At which acceptance is trained and measured.
        self_fed_steps: Length of drafts whose positions are trained; 1 weighs all alike.
        held_out: Share of the responses that only measures.
        seed: Of everything.
    """

    shape: Shape = field(default_factory=Shape)
    vocabulary: int | None = None
    tokens: int = 6_000_000
    batch_tokens: int = 2048
    batches: int = 4
    learning_rate: float = 0.01
    embedding_rate: float = 0.002
    top_k: int = 16
    other_candidates: int = 1024
    acceptance_from: float = 0.6
    kind: str = "Q4_0"
    rounded_from: float = 0.7
    temperatures: tuple[float, ...] = (0.8, 1.0)
    self_fed_steps: int = 4
    held_out: float = 0.01
    seed: int = 1


@dataclass(frozen=True, slots=True)
class Batch:
    """Responses side by side.

    Attributes:
        ids: Tokens, padded at the end, [responses, length].
        rows: Which positions (of the flattened ids) come before a response's token, [n].
        starts: Whether a response begins after the position, [n].
        next_place: Where the token that follows is among the most probable; their number if it is
            not, [n].
        top_ids: The most probable tokens, [n, k].
        log_p: Their log-probabilities at temperature 1, [n, k].
    """

    ids: Tensor
    rows: Tensor
    starts: Tensor
    next_place: Tensor
    top_ids: Tensor
    log_p: Tensor

    def to(self, device: torch.device) -> Batch:
        """The same on a device."""
        return Batch(*(getattr(self, f.name).to(device) for f in fields(self)))

    @classmethod
    def of(cls, lessons: Sequence[Lesson]) -> Batch:
        """Puts lessons together."""
        length = max(len(x.tokens) for x in lessons) - 1  # nothing follows the last token
        ids = np.zeros((len(lessons), length), np.int64)
        for i, x in enumerate(lessons):
            ids[i, : len(x.tokens) - 1] = x.tokens[:-1]
        rows = np.concatenate([i * length + x.rows for i, x in enumerate(lessons)])
        starts = [np.arange(len(x.rows)) == 0 for x in lessons]
        following = np.concatenate([x.tokens[x.rows + 1] for x in lessons])
        top_ids = np.concatenate([x.top_ids for x in lessons]).astype(np.int64)
        log_p = np.concatenate([x.top_logprobs for x in lessons]).astype(np.float32)
        is_next = (top_ids == following[:, None]) & np.isfinite(log_p)
        next_place = np.where(is_next.any(1), is_next.argmax(1), top_ids.shape[1])
        return cls(
            ids=torch.from_numpy(ids),
            rows=torch.from_numpy(rows),
            starts=torch.from_numpy(np.concatenate(starts)),
            next_place=torch.from_numpy(next_place),
            top_ids=torch.from_numpy(top_ids),
            log_p=torch.from_numpy(log_p),
        )


def batches(
    lessons: Sequence[Lesson], options: DistillOptions, epoch: int
) -> Iterator[list[Lesson]]:
    """All lessons once, those of like lengths together, in an order of chance."""
    rng = np.random.default_rng([options.seed, epoch])
    lengths = np.array([len(x.tokens) for x in lessons])
    order = np.argsort(lengths + rng.uniform(0, 16, len(lengths)), kind="stable")
    groups: list[list[Lesson]] = [[]]
    longest = 0
    for i in order:
        longest = max(longest, int(lengths[i]))
        if groups[-1] and longest * (len(groups[-1]) + 1) > options.batch_tokens:
            groups.append([])
            longest = int(lengths[i])
        groups[-1].append(lessons[i])
    for i in rng.permutation(len(groups)):
        yield groups[i]


class Trainer:
    """A student, its optimisers and how far they are."""

    def __init__(self, student: LlamaForCausalLM, options: DistillOptions) -> None:
        """Begins."""
        self.student = student
        self.options = options
        self.tokens = 0
        self.seconds = 0.0
        self.epoch = 0
        self.generator = torch.Generator().manual_seed(options.seed)
        inside = [p for p in student.model.layers.parameters() if p.ndim == 2]
        rest = [p for p in student.parameters() if not any(p is q for q in inside)]
        self.optimisers: list[torch.optim.Optimizer] = [
            Muon(inside, options.learning_rate),
            torch.optim.AdamW(rest, lr=options.embedding_rate, weight_decay=0.0, betas=(0.9, 0.98)),
        ]
        self._matrices = [p for p in student.parameters() if p.ndim == 2]
        self._rounded: list[Tensor] | None = None  # the matrices, since the last step
        self._learned = 0
        self._highest = [options.learning_rate, options.embedding_rate]

    @property
    def done(self) -> float:
        """Share of the training that is over."""
        return min(1.0, self.tokens / self.options.tokens)

    def learn(self, batch: Batch) -> dict[str, float]:
        """Learns from a batch, with a step after several; returns what it measured before."""
        start = time.perf_counter()
        with self.as_written():
            value, measured = self._loss(batch.to(self.student.device))
            (value / self.options.batches).backward()
        self._learned += 1
        if self._learned % self.options.batches == 0:
            self._step()
        self.tokens += len(batch.rows)
        self.seconds += time.perf_counter() - start
        return measured

    def as_written(self) -> AbstractContextManager[None]:
        """Lets weights be what their type makes of them, once the training has come so far."""
        if self.done < self.options.rounded_from:
            return nullcontext()
        if self._rounded is None:
            self._rounded = [rounded(p.data, self.options.kind) for p in self._matrices]
        return standing_in(self._rounded, self._matrices)

    def _step(self) -> None:
        self._rounded = None
        rate = _rate(self.done)
        torch.nn.utils.clip_grad_norm_(self.student.parameters(), 1.0)
        for optimiser, highest in zip(self.optimisers, self._highest, strict=True):
            for group in optimiser.param_groups:
                group["lr"] = rate * highest
            optimiser.step()
            optimiser.zero_grad()

    def _loss(self, batch: Batch) -> tuple[Tensor, dict[str, float]]:
        options = self.options
        head = self.student.model.embed_tokens.weight
        candidates = loss.Candidates.choose(
            batch.top_ids, len(head), options.other_candidates, self.generator
        )
        precision = fast_dtype(head.device)
        with torch.autocast(head.device.type, precision, enabled=precision != torch.float32):
            states = self.student.model(batch.ids).last_hidden_state
            states = states.reshape(-1, states.shape[-1])[batch.rows]
            logits = states @ head[candidates.ids].T
        logits = logits.float()
        places = candidates.places(batch.top_ids)
        log_q = loss.log_softmax_at(logits, places, candidates.log_weights)
        entropy = loss.cross_entropy(log_q, batch.log_p)
        weights = loss.self_fed_weights(
            _ratio_of_next(log_q.detach(), batch), batch.starts, options.self_fed_steps
        )
        value = entropy
        if self.done >= options.acceptance_from:
            accepted = [
                loss.acceptance(
                    loss.log_softmax_at(logits, places, candidates.log_weights, t),
                    loss.at_temperature(batch.log_p, t),
                )
                for t in options.temperatures
            ]
            value = 0.1 * entropy - torch.stack(accepted).mean(0)
        return (weights * value).mean(), {"cross_entropy": float(entropy.detach().mean())}

    def state(self) -> dict[str, Any]:
        """What ``restore`` needs."""
        return {
            "optimisers": [optimiser.state_dict() for optimiser in self.optimisers],
            "generator": self.generator.get_state(),
            "tokens": self.tokens,
            "seconds": self.seconds,
            "epoch": self.epoch,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Goes on from a checkpoint."""
        self.student.load_state_dict(state["student"])
        for optimiser, saved in zip(self.optimisers, state["optimisers"], strict=True):
            optimiser.load_state_dict(saved)
        self.generator.set_state(state["generator"])
        self.tokens, self.seconds, self.epoch = state["tokens"], state["seconds"], state["epoch"]


def _ratio_of_next(log_q: Tensor, batch: Batch) -> Tensor:
    """min(1, q/p) of the token that follows; 0 where it is not among the target's most probable."""
    ratio = (log_q - batch.log_p).clamp(max=0).exp()
    return torch.cat([ratio, ratio.new_zeros(len(ratio), 1)], 1).gather(
        1, batch.next_place[:, None]
    )[:, 0]


def _rate(done: float) -> float:
    """Learning rate as a share of the highest: up in the first hundredth, down like a cosine."""
    return min(1.0, done / 0.01 + 0.01) * max(0.02, 0.5 * (1 + float(np.cos(np.pi * done))))


@torch.no_grad()  # type: ignore[untyped-decorator]
def held_out_acceptance(
    student: LlamaForCausalLM, tests: Sequence[Lesson], temperatures: Sequence[float]
) -> dict[str, float]:
    """Mean acceptance at each temperature: of whatever the student has a token for."""
    sums = dict.fromkeys(temperatures, 0.0)
    count = 0
    vocabulary = torch.zeros(student.config.vocab_size + 1, device=student.device)
    for i in range(0, len(tests), 8):
        batch = Batch.of(tests[i : i + 8]).to(student.device)
        states = student.model(batch.ids).last_hidden_state
        states = states.reshape(-1, states.shape[-1])[batch.rows]
        logits = states @ student.model.embed_tokens.weight.T
        logits = torch.nn.functional.pad(logits, (0, 1), value=-torch.inf)  # never said
        count += len(batch.rows)
        for t in temperatures:
            log_q = loss.log_softmax_at(logits, batch.top_ids, vocabulary, t)
            log_p = loss.at_temperature(batch.log_p, t)
            sums[t] += float(loss.acceptance(log_q, log_p).sum())
    return {f"held_out_acceptance_{t:g}": sums[t] / count for t in temperatures}


def begun_with(run: Path) -> Path:
    """A student of a part of the vocabulary as a run began with it."""
    return run / "begun.gguf"


def begin(
    target: Path,
    responses: Sequence[Response],
    run: Path,
    options: DistillOptions,
    start: Path | None,
) -> tuple[LlamaForCausalLM, Reader]:
    """A student to train, and what makes its lessons.

    Arguments are those of ``distill``, which says what is raised.
    """
    begun = begun_with(run)
    if begun.exists():
        kept = GgufVocabulary.of(target).places_of(GgufVocabulary.of(begun))
    else:
        kept = require_vocabulary(target, options.vocabulary, start)
        if kept is None and options.vocabulary is not None:
            vocabulary = GgufVocabulary.of(target)
            counts = counts_of(responses, len(vocabulary.tokens))
            kept = vocabulary.commonest(counts, options.vocabulary)
    if start is None:
        student = new_student(target, options.shape, options.seed, kept)
    else:
        student = old_student(start, target, kept)
    if kept is None:
        return student, Reader()
    if not begun.exists():
        write_student(student, target, begun, options.kind, kept=kept)
    return student, PartReader(target, begun, kept)


def require_vocabulary(
    target: Path, size: int | None, start: Path | None
) -> NDArray[np.int32] | None:
    """Makes sure, before anything is sampled, that a student can have that vocabulary.

    Args:
        target: As in ``distill``.
        size: Of the student's vocabulary; None: that of ``start``, or the target's.
        start: As in ``distill``.

    Returns:
        The ids of the target's tokens that ``start`` has, if that is a part of them.

    Raises:
        ModelLoadError: If ``start`` has others, or no parts are made of the target's vocabulary.
        ValueError: If they have not so many.
    """
    if size is None and start is None:
        return None
    vocabulary = GgufVocabulary.of(target)
    kept = None if start is None else vocabulary.places_of(GgufVocabulary.of(start))
    if kept is not None and size not in (None, len(kept)):
        raise ValueError(
            f"{start} has a vocabulary of {len(kept)} tokens, which cannot become one of {size}: "
            "begin with a student of the whole vocabulary"
        )
    if kept is None and size is not None:
        vocabulary.require_part_of(size)
    return kept


def _known(lessons: Iterable[Lesson]) -> list[Lesson]:
    return [lesson for lesson in lessons if len(lesson.rows) > 0]


def distill_target(
    target: Path,
    run: Path,
    path: Path,
    options: DistillOptions,
    *,
    start: Path | None = None,
    progress: bool | None = None,
) -> dict[float, float]:
    """Trains a student on the corpus in a run's folder and writes it as GGUF.

    Args:
        target: As in ``distill``.
        run: Folder with the ``corpus``; gets the rest as in ``distill``.
        path: GGUF to write.
        options: How.
        start: As in ``distill``.
        progress: Whether to show progress; None shows it on a terminal.

    Returns:
        Held-out acceptance by temperature.
    """
    student = distill(target, run / "corpus", run, options, start=start, progress=progress)
    begun = begun_with(run)
    write_student(student, begun if begun.exists() else target, path, options.kind)
    last = json.loads((run / "distill.jsonl").read_text().splitlines()[-1])
    return {t: last[f"held_out_acceptance_{t:g}"] for t in options.temperatures}


def distill(
    target: Path,
    corpus: Path,
    run: Path,
    options: DistillOptions,
    *,
    start: Path | None = None,
    progress: bool | None = None,
    checkpoint_every: float = 240.0,
) -> LlamaForCausalLM:
    """Trains a student on a corpus; goes on from the run's last checkpoint.

    Args:
        target: GGUF whose vocabulary, or a part of it, and embedding the student takes.
        corpus: Folder of ``sample_corpus``.
        run: Folder for the checkpoint, ``distill.json`` (the options) and ``distill.jsonl`` (what
            was measured), with a picture of it; for a student of a part of the vocabulary also
            ``begun.gguf``, that student as it began, whose vocabulary the run keeps.
        options: How.
        start: GGUF of a student to train on; None begins with a new one of ``options.shape``. One
            of the whole vocabulary may begin one of a part.
        progress: Whether to show progress; None shows it on a terminal.
        checkpoint_every: Seconds between checkpoints.

    Raises:
        ValueError: If the corpus is empty, or the run was begun with other options.
        ModelLoadError: If ``start`` is no student of the target, or the target's vocabulary cannot
            be trimmed.
    """
    now = {**asdict(options), "start": None if start is None else str(start)}
    keep_options(run / "distill.json", now, may_change=("tokens",))
    everything = load_all(corpus)
    if len(everything) < 2:
        raise ValueError(f"{corpus} has {len(everything)} responses: too few to train on")
    student, reader = begin(target, everything, run, options, start)
    held = max(1, round(options.held_out * len(everything)))
    learned = _known(reader.lesson(r, options.top_k) for r in everything[:-held])
    measured_on = _known(reader.test(r) for r in everything[-held:])
    trainer = Trainer(student.to("cuda" if torch.cuda.is_available() else "cpu"), options)
    checkpoint = run / "distill.pt"
    if checkpoint.exists():
        trainer.restore(torch.load(checkpoint, weights_only=True, map_location="cpu"))
    saved = time.monotonic()

    def save() -> None:
        save_checkpoint(checkpoint, trainer.student, **trainer.state())

    def note(figures: dict[str, float]) -> None:
        line = {"tokens": trainer.tokens, "seconds": round(trainer.seconds, 1), **figures}
        with (run / "distill.jsonl").open("a") as file:
            file.write(json.dumps(line) + "\n")

    with bars(shown=is_shown(progress), with_time_left=True) as display:
        task = display.add_task("distilling", total=options.tokens, completed=trainer.tokens)
        while trainer.done < 1:
            for group in batches(learned, options, trainer.epoch):
                figures = trainer.learn(Batch.of(group))
                display.update(task, completed=trainer.tokens)
                if time.monotonic() - saved > checkpoint_every or trainer.done >= 1:
                    with trainer.as_written():
                        found = held_out_acceptance(student, measured_on, options.temperatures)
                    note(figures | found)
                    save()
                    saved = time.monotonic()
                if trainer.done >= 1:
                    break
            trainer.epoch += 1
    draw_distillation(run)
    return trainer.student.cpu()
