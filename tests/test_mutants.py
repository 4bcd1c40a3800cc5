"""The mutation check (``make mutants``) still fits the sources it breaks."""

from __future__ import annotations

import pytest

from .mutants import MUTANTS, ROOT, Mutant


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_the_string_a_mutant_replaces_occurs_once(mutant: Mutant) -> None:
    source = (ROOT / "cpp" / "rewardshift" / mutant.path).read_text(encoding="utf-8")
    assert source.count(mutant.old) == 1
    assert mutant.new != mutant.old
