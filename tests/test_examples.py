"""The examples run, and answer the question they are named after."""

from __future__ import annotations

import runpy
import sys
from typing import TYPE_CHECKING

import pytest

from .support.documents import ROOT, write_example_models

if TYPE_CHECKING:
    from pathlib import Path

EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
ANSWERS = {
    "is_my_draft_aligned_enough": ("This pair is", "accepted drafts", "times the target alone"),
    "which_strength": ("Take strength", "align the draft more mildly"),
    "best_of_n_or_sss": ("Take SSS", "Take Best-of-N", "Too close", ": take SSS"),
}


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_answers_its_question(
    path: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    write_example_models(tmp_path)
    monkeypatch.chdir(tmp_path)
    models = ("big.gguf", "small-dpo.gguf", "small.gguf")
    monkeypatch.setattr(sys, "argv", [str(path), *models, "--n", "2"])
    runpy.run_path(str(path), run_name="__main__")
    said = capsys.readouterr().out
    assert any(answer in said for answer in ANSWERS[path.stem]), said


def test_every_question_has_its_example() -> None:
    assert {path.stem for path in EXAMPLES} == set(ANSWERS)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_is_short_and_says_how_to_run_it(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()
    assert len(lines) < 80
    assert any(f"python examples/{path.name}" in line for line in lines[:6])
    assert not any("rewardshift._" in line for line in lines)  # the public API only
