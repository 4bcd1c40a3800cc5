"""What tests of training share: a shape, questions, the commands, warnings of other packages."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest
from typer.testing import CliRunner

from rewardshift.cli.app import app
from rewardshift.train.pairs import Pair
from rewardshift.train.student import Shape

if TYPE_CHECKING:
    from pathlib import Path

    from .tiny_gguf import TinyModel

OTHERS_WARNINGS = [
    # TRL and transformers warn of each other's names.
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]
SHAPE = Shape(width=32, layers=2, head_size=8, n_ctx=256)
QUESTIONS = ("a b", "cd", "ab cd d", "b")


def run(*arguments: object) -> str:
    """What a command prints that does what it should."""
    done = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert done.exit_code == 0, done.output
    return done.stdout


def run_distill(target: TinyModel, student: Path, *more: object) -> str:
    """Distils a target, very little, with the questions as prompts."""
    prompts = student.with_name("prompts.txt")
    prompts.write_text("\n".join(QUESTIONS))
    return run(
        *("distill", target.path, student, "--prompts", prompts, "--responses", 8, "-n", 8),
        *("--tokens", 200, "--width", 64, "--layers", 1),
        *more,
    )


def made_up_pairs(count: int) -> list[Pair]:
    """Some tokens are good, some are bad."""
    rng = np.random.default_rng(1)
    good, bad = np.split(rng.choice(np.arange(3, 250), 16, replace=False), 2)
    return [
        Pair(
            f"{i}",
            "",
            "",
            rng.integers(3, 250, 6).tolist(),
            rng.choice(good, 12).tolist(),
            rng.choice(bad, 12).tolist(),
        )
        for i in range(count)
    ]


def write_liked(path: Path) -> None:
    """Preferences for one answer over another, to twelve prompts."""
    rows = [{"prompt": f"{'a' * i}", "chosen": "ab cd", "rejected": "d d d"} for i in range(1, 13)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
