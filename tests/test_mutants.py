"""The mutation check (``make mutants``) still fits the sources it breaks."""

from __future__ import annotations

from pathlib import Path

import pytest

from .mutants.catalogue import MUTANTS, Mutant

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_the_string_a_mutant_replaces_occurs_once(mutant: Mutant) -> None:
    source = (ROOT / "cpp" / "rewardshift" / mutant.path).read_text(encoding="utf-8")
    assert source.count(mutant.old) == 1
    assert mutant.new != mutant.old
