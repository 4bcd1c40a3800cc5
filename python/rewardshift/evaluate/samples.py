"""Samples on disk: a JSON object a line, each written as soon as it is known."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, TextIO

from rewardshift.files.json_values import plain
from rewardshift.files.paths import given_path

if TYPE_CHECKING:
    from pathlib import Path

Key = tuple[str, str, int]
"""Method, prompt and seed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One answer of one method, and what was found of it.

    Attributes:
        method: The method as the command line names it, such as "sss:strength=0.5".
        name: The method's own name.
        prompt: What was asked.
        seed: Number of the repetition, from 1.
        text: The answer.
        tokens: Its number of tokens.
        finish_reason: As in ``Completion``.
        seconds: Wall time of the answer, the prompt being in the cache already.
        calls: Evaluations by role.
        evaluated: Tokens evaluated by role; texts scored by "reward".
        gold: The gold reward of the answer.
        training: The reward that methods may choose by.
        target_nats: Mean −log p of its tokens at temperature 1; None if there are none.
        kl: Sum over its tokens of log law − log p, both at the temperature of the run: an unbiased
            estimate of the KL divergence of an answer; None where the law is unknown.
        drafted: Tokens drafted.
        accepted: Of these, the accepted ones.
        acceptance_by_position: Accepted share of the decisions at each position of the draft.
        log_z: log Z_s at each position of the answer; None where it is no finite number.
    """

    method: str
    name: str
    prompt: str
    seed: int
    text: str
    tokens: int
    finish_reason: str
    seconds: float
    calls: dict[str, int]
    evaluated: dict[str, int]
    gold: float
    training: float
    target_nats: float | None
    kl: float | None
    drafted: int
    accepted: int
    acceptance_by_position: tuple[float, ...]
    log_z: tuple[float | None, ...]

    @property
    def key(self) -> Key:
        """What it is the sample of."""
        return self.method, self.prompt, self.seed


def read_samples(path: Path) -> list[Sample]:
    """The samples of a file; none if there is no file. A half-written last line does not count.

    Raises:
        ValueError: If another line is no sample; it names the line.
    """
    path = given_path(path)
    if not path.exists():
        return []
    lines = path.read_bytes().split(b"\n")[:-1]
    return [_sample(line, f"{path}:{number}") for number, line in enumerate(lines, 1)]


def drop_half_line(path: Path) -> None:
    """Removes what a run that was killed may have left behind the last whole line."""
    content = path.read_bytes() if path.exists() else b""
    if content and not content.endswith(b"\n"):
        with path.open("r+b") as file:
            file.truncate(content.rfind(b"\n") + 1)


def write_sample(file: TextIO, sample: Sample) -> None:
    """Appends a line; it is the system's to keep once this returns."""
    file.write(json.dumps(plain(sample), ensure_ascii=False, allow_nan=False) + "\n")
    file.flush()


def _sample(line: bytes, where: str) -> Sample:
    try:
        row = json.loads(line)
        for name in ("acceptance_by_position", "log_z"):
            row[name] = tuple(row[name])
        return Sample(**row)
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(f"{where} is no sample of this version: {error}") from None
