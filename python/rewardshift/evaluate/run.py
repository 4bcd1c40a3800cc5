"""Runs methods on prompts, and keeps every answer."""

from __future__ import annotations

import hashlib
import json
import math
import platform
import random
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from rewardshift import _core
from rewardshift.chat.turns import prompt_tokens
from rewardshift.decoder import Decoder
from rewardshift.dials.catalogue import ready_made_shift
from rewardshift.files.atomic import replacing
from rewardshift.files.paths import given_path
from rewardshift.files.run_options import keep_options
from rewardshift.methods import CARDS, Question
from rewardshift.progress import bars, is_shown
from rewardshift.rewards import scores
from rewardshift.shifts import shifts_by_name

from .prompts import evaluation_prompts
from .samples import Sample, drop_half_line, read_samples, write_sample
from .together import answered_together

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from rewardshift.methods import Answer, Method
    from rewardshift.rewards import Reward

    from .samples import Key

SHIFT = "shift"
"""What the names of a shift's parts begin with, in a run's options."""
OPTIONS, SAMPLES, CALIBRATED = "options.json", "samples.jsonl", "calibrated.json"
MAY_CHANGE = ("methods", "prompts", "seeds")
_SHIFTS = ("shift", "shifts")
_ROOM = ("n_ctx", "n_seq_max")
"""Of a decoder's arguments, those that say how much fits, and change with the methods."""
_PIECES, _PIECE = 64, 65536
"""How many pieces of a model's file are read to know it again, and bytes of each."""


@dataclass(frozen=True, slots=True)
class EvaluateOptions:
    """How answers are sampled.

    Attributes:
        max_tokens: Of each answer.
        temperature: Of every method's law.
        seeds: Answers of each method to each prompt.
        draft_system: System message that only the draft sees, to shift by prompt.
    """

    max_tokens: int = 64
    temperature: float = 0.8
    seeds: int = 3
    draft_system: str | None = None


@dataclass(frozen=True, slots=True)
class Judges:
    """What answers are scored by.

    Attributes:
        gold: What is reported. It must not be what the draft was aligned by.
        training: What methods such as Best-of-N may choose by.
        gold_name: For the report.
        training_name: Likewise.

    Raises:
        ValueError: If both are the same.
    """

    gold: Reward
    training: Reward
    gold_name: str
    training_name: str

    def __post_init__(self) -> None:
        """Refuses to judge a method by the reward that it optimises."""
        if self.gold is self.training or self.gold_name == self.training_name:
            raise ValueError(
                f"the gold reward is the training reward, {self.gold_name}: a method that chooses "
                "by a reward must be judged by another one"
            )


class Job(NamedTuple):
    """An answer to sample."""

    method: str
    prompt: str
    seed: int


def evaluate(
    roles: Mapping[str, Any],
    methods: Mapping[str, Method],
    prompts: Sequence[str],
    folder: Path,
    judges: Judges,
    options: EvaluateOptions,
    *,
    at_once: int = 1,
    progress: bool | None = None,
) -> list[Sample]:
    """Answers every prompt by every method, ``options.seeds`` times, and scores the answers.

    What is in the folder is not sampled again: the same call goes on where one was stopped, and
    with more methods, prompts or seeds it samples what these add. Until there is an answer, options
    may change. CARDS without r* gets one first, once, from the package's calibration prompts.

    Methods take turns, prompt by prompt, so a slow moment of the machine falls on all of them.
    Before each answer caches are emptied and the prompt is evaluated by all roles, outside the
    measured time; else a method would be faster for coming after one that was asked the same.

    Args:
        roles: Arguments of ``Decoder``.
        methods: By the name that samples and reports know them by.
        prompts: What users ask.
        folder: For ``options.json``, ``samples.jsonl`` and, with CARDS, ``calibrated.json``; made
            if it is not there.
        judges: The rewards.
        options: How.
        at_once: Answers that are sampled together: the same laws in less time, but what each of
            them took is not known then.
        progress: Whether to show progress; None shows it on a terminal.

    Returns:
        A sample of each method, prompt and seed, method by method.

    Raises:
        ValueError: If there is nothing to do, the folder is of a run with other options, models or
            machine, or it has answers of another method under the name of one of these.
    """
    planned = jobs(list(methods), prompts, options.seeds)
    if not planned:
        raise ValueError("there is nothing to evaluate: it takes a method, a prompt and a seed")
    folder = given_path(folder)
    path = folder / SAMPLES
    drop_half_line(path)
    done: dict[Key, Sample] = {sample.key: sample for sample in read_samples(path)}
    begun_with = _begun_with(roles, methods, prompts, judges, options)
    begun_with["answers_at_once"] = at_once if at_once > 1 else None
    if not done:
        _drop_options(folder, like=begun_with)
    keep_options(folder / OPTIONS, begun_with, may_change=MAY_CHANGE)
    methods = _as_calibrated(methods, folder)
    _require_same_methods(methods, done.values(), path)
    missing = [job for job in planned if job not in done]
    if missing:
        done |= _sample_all(
            missing, roles, methods, path, judges, options, at_once=at_once, progress=progress
        )
    return [done[job] for method in methods for job in planned if job.method == method]


def jobs(methods: Sequence[str], prompts: Sequence[str], seeds: int) -> list[Job]:
    """What to sample, in order: each prompt goes to all methods, in an order of its own.

    So none always comes after the same one, in what that leaves of the machine. Prompts that are
    repeated count once.
    """
    found: list[Job] = []
    for seed in range(1, seeds + 1):
        for prompt in dict.fromkeys(prompts):
            order = list(methods)
            random.Random(f"{prompt}\n{seed}").shuffle(order)  # noqa: S311 - no secret
            found += [Job(method, prompt, seed) for method in order]
    return found


def seed_of(job: Job) -> int:
    """The seed that a method is given, below 2^63.

    It depends on nothing but the job: answers of different methods are independent, and those of a
    prompt do not change when others are added.
    """
    text = "\n".join(map(str, job)).encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big") >> 1


def _begun_with(
    roles: Mapping[str, Any],
    methods: Mapping[str, Method],
    prompts: Sequence[str],
    judges: Judges,
    options: EvaluateOptions,
) -> dict[str, Any]:
    """All that samples depend on, and the machine that their seconds are of."""
    given = _flat(roles)
    return {
        "models": {name: str(value) for name, value in given.items() if name not in _ROOM},
        "files": {
            name: _fingerprint(given_path(value))
            for name, value in given.items()
            if isinstance(value, (str, Path)) and is_path(name) and given_path(value).is_file()
        },
        "methods": {spec: method.name for spec, method in methods.items()},
        "prompts": len(set(prompts)),
        "gold": judges.gold_name,
        "training": judges.training_name,
        **asdict(options),
        "machine": f"{platform.system()} {platform.machine()}, {_core.usable_cores()} cores",
        "compiled_for": _core.cpu,
        "llama_cpp": _core.llama_cpp_version,
        "rewardshift": _core.version,
    }


def _flat(roles: Mapping[str, Any]) -> dict[str, Any]:
    """The same with the parts of each shift by name: "shift ours: draft"."""
    found = {name: value for name, value in roles.items() if name not in _SHIFTS}
    named = shifts_by_name(roles.get("shift"), roles.get("shifts"), ready_made=ready_made_shift)
    for name, shift in named.items():
        for field in fields(shift):
            value = getattr(shift, field.name)
            if field.name != "_" and value != field.default:
                found[f"{SHIFT} {name}: {field.name}"] = value
    return found


def is_path(name: str) -> bool:
    """Whether what a run's options have under that name is where a file is."""
    return not name.endswith("draft_system")


def _fingerprint(path: Path) -> str:
    """Size of a file, and a hash of pieces all over it: of a small file, of all of it.

    Training in place changes no size but nearly every weight; and this takes no time.
    """
    size = path.stat().st_size
    digest = hashlib.blake2b(digest_size=8)
    with path.open("rb") as file:
        for start in range(0, size, max(_PIECE, size // _PIECES)):
            file.seek(start)
            digest.update(file.read(_PIECE))
    return f"{size} bytes, {digest.hexdigest()}"


def _drop_options(folder: Path, *, like: Mapping[str, Any]) -> None:
    """Clears the folder of a run that came to nothing, for the one that mends its mistake."""
    path = folder / OPTIONS
    if path.exists() and json.loads(path.read_text(encoding="utf-8")).keys() == like.keys():
        path.unlink()
        (folder / CALIBRATED).unlink(missing_ok=True)


def _as_calibrated(methods: Mapping[str, Method], folder: Path) -> dict[str, Method]:
    """The methods, with the r* that CARDS was given when the run began."""
    known = _calibrations(folder)
    return {
        spec: replace(method, r_star=known[spec])
        if isinstance(method, CARDS) and method.r_star is None and spec in known
        else method
        for spec, method in methods.items()
    }


def _calibrations(folder: Path) -> dict[str, Any]:
    path = folder / CALIBRATED
    return dict(json.loads(path.read_text(encoding="utf-8"))) if path.exists() else {}


def _require_same_methods(
    methods: Mapping[str, Method], samples: Iterable[Sample], path: Path
) -> None:
    """Raises ValueError if a method answered under the name that is now another's."""
    for sample in samples:
        method = methods.get(sample.method)
        if method is not None and method.name != sample.name:
            raise ValueError(
                f"{path} has answers of {sample.method} as {sample.name!r}, and it is "
                f"{method.name!r} now: another method needs another name, or another folder"
            )


def _sample_all(
    missing: Sequence[Job],
    roles: Mapping[str, Any],
    methods: Mapping[str, Method],
    path: Path,
    judges: Judges,
    options: EvaluateOptions,
    *,
    at_once: int,
    progress: bool | None,
) -> dict[Key, Sample]:
    found: dict[Key, Sample] = {}
    with (
        Decoder(**{"progress": progress, **roles}) as decoder,
        path.open("a", encoding="utf-8") as file,
        bars(shown=is_shown(progress), with_time_left=True) as display,
    ):
        needed = dict.fromkeys(job.method for job in missing)
        ready = {
            spec: _ready(spec, methods[spec], decoder, path.parent, options) for spec in needed
        }
        task = display.add_task("evaluating", total=len(missing))
        for start in range(0, len(missing), at_once):
            group = [(job, ready[job.method]) for job in missing[start : start + at_once]]
            display.update(task, description=f"evaluating, now {group[0][1].name}")
            for sample in _samples(decoder, group, judges, options):
                write_sample(file, sample)
                found[sample.key] = sample
                display.advance(task)
    return found


def _ready(
    spec: str, method: Method, decoder: Decoder, folder: Path, options: EvaluateOptions
) -> Method:
    """The method as it can answer; what it must know first does not come from what is asked."""
    if not isinstance(method, CARDS) or method.r_star is not None:
        return method
    asked = [prompt.prompt for prompt in evaluation_prompts("calibration")]
    found = method.calibrated(
        decoder,
        [(text, prompt_tokens(decoder, text)) for text in asked],
        seed=0,
        max_tokens=options.max_tokens,
        temperature=options.temperature,
    )
    known = _calibrations(folder) | {spec: found.r_star}
    with replacing(folder / CALIBRATED) as fresh:
        fresh.write_text(json.dumps(known, indent=2) + "\n", encoding="utf-8")
    return found


def _samples(
    decoder: Decoder,
    group: Sequence[tuple[Job, Method]],
    judges: Judges,
    options: EvaluateOptions,
) -> Iterator[Sample]:
    """What methods answer: together, if there are several."""
    questions = [_question(decoder, job, options) for job, _ in group]
    decoder.forget()
    if len(group) == 1:
        first = questions[0]
        decoder.score(first.tokens, first.tokens[-1:], draft_prompt=first.draft_tokens)
        answers = [group[0][1].answer(decoder, first)]  # all have seen the prompt now
    else:
        asked = [(method, q) for (_, method), q in zip(group, questions, strict=True)]
        answers = answered_together(decoder, asked)
    for (job, method), question, answer in zip(group, questions, answers, strict=True):
        yield _sample(decoder, method, job, question, answer, judges)


def _question(decoder: Decoder, job: Job, options: EvaluateOptions) -> Question:
    tokens, by_draft = decoder.chat_prompts_by_shift(
        [{"role": "user", "content": job.prompt}], draft_system=options.draft_system
    )
    draft_tokens: Any = by_draft or None
    if len(decoder.shifts) < 2:
        draft_tokens = next(iter(by_draft.values()), None)
    return Question(
        job.prompt,
        tokens,
        seed=seed_of(job),
        max_tokens=options.max_tokens,
        temperature=options.temperature,
        draft_tokens=draft_tokens,
    )


def _sample(
    decoder: Decoder, method: Method, job: Job, question: Question, answer: Answer, judges: Judges
) -> Sample:
    exchange = [(job.prompt, answer.text)]
    target_nats, kl = _under_the_target(decoder, question, answer)
    return Sample(
        method=job.method,
        name=method.name,
        prompt=job.prompt,
        seed=job.seed,
        text=answer.text,
        tokens=len(answer.tokens),
        finish_reason=answer.finish_reason,
        seconds=answer.seconds,
        calls=dict(answer.calls),
        evaluated=dict(answer.evaluated),
        gold=scores(judges.gold, exchange)[0],
        training=scores(judges.training, exchange)[0],
        target_nats=target_nats,
        kl=kl,
        drafted=answer.drafted,
        accepted=answer.accepted,
        acceptance_by_position=tuple(answer.acceptance_by_position),
        log_z=tuple(z if math.isfinite(z) else None for z in answer.log_z),
    )


def _under_the_target(
    decoder: Decoder, question: Question, answer: Answer
) -> tuple[float | None, float | None]:
    """The answer's −log p a token, and its log law − log p.

    The latter at the law's temperature, where the target's own is 0; None where there is no law.
    """
    if not answer.tokens:
        return None, None
    own = decoder.score(
        question.tokens, answer.tokens, strength=0.0, temperature=question.temperature
    )
    nats = -own.target_logprob / len(answer.tokens)
    if not answer.goal_logprobs or question.temperature == 0:
        return nats, None
    return nats, math.fsum(answer.goal_logprobs) - own.goal_logprob
