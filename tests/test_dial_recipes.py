"""The program that makes, calibrates and measures the package's dials, on tiny models."""

from __future__ import annotations

import importlib.util
import sys
from typing import TYPE_CHECKING, Any

import pytest

from rewardshift.cli.reward_names import REWARDS
from rewardshift.dials.dial import read_dial
from tests.support.documents import ROOT
from tests.support.tiny_gguf import CHATML_TEMPLATE, bpe_vocab, spm_vocab

pytest.importorskip("torch")

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Files

FEW: Any = {"prompts": 3, "max_tokens": 4}


@pytest.fixture(scope="module")
def program() -> Any:
    """``benchmarks/dials.py`` as a module; its folder is where Python would find its recipes."""
    sys.path.insert(0, str(ROOT / "benchmarks"))
    try:
        spec = importlib.util.spec_from_file_location("dials", ROOT / "benchmarks" / "dials.py")
        assert spec is not None
        assert spec.loader is not None
        module = sys.modules["dials"] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        yield module
    finally:
        sys.path.remove(str(ROOT / "benchmarks"))
        del sys.modules["dials"]


def test_every_recipe_names_rewards_that_there_are_and_is_judged_by_others(program: Any) -> None:
    known = REWARDS.split(", ")
    names = [recipe.name for recipe in program.RECIPES]
    assert len(set(names)) == len(names) >= 5
    for recipe in program.RECIPES:
        assert recipe.reward in known
        assert recipe.golds
        assert set(recipe.golds) <= set(known) - {recipe.reward}


def test_a_dial_of_the_package_is_taken_as_it_is(program: Any, tmp_path: Path) -> None:
    recipe = next(recipe for recipe in program.RECIPES if recipe.name == "positive")
    program.train(recipe, program.OURS, tmp_path, licence="MIT")
    dial = read_dial(tmp_path / "positive")
    shipped = program.OURS.parent / "positive"
    assert dial.adapter.read_bytes() == (shipped / "adapter.gguf").read_bytes()
    assert dial.licence == "Apache-2.0"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of TRL and transformers, and of tiny vocabularies
def test_a_recipe_becomes_a_dial_that_is_calibrated_and_measured(
    program: Any, files: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REWARDSHIFT_DIALS_DIR", str(tmp_path))
    shape: Any = {"vocab": bpe_vocab(), "chat_template": CHATML_TEMPLATE}
    reference = files.model(**shape, noise=0.35, noise_seed=2).path
    own = files.model(**shape).path
    other = files.model(vocab=spm_vocab(18, byte_tokens=True), chat_template=CHATML_TEMPLATE).path
    recipe = program.Recipe(
        name="long",
        does="goes on",
        reward="tests.support.own_rewards:length",
        golds=("tests.support.own_rewards:variety", "conciseness"),
        system="Go on.",
        margin=1.0,
        max_tokens=6,
        prompts=16,
        epochs=1,
    )
    program.train(recipe, reference, tmp_path, licence="MIT")
    dial = read_dial(tmp_path / "long")
    written = dial.adapter.stat().st_mtime_ns
    program.train(recipe, reference, tmp_path, licence="MIT")
    assert dial.adapter.stat().st_mtime_ns == written  # nothing is done twice

    how = program.How(**FEW, at_once=2)
    targets = {"own": own, "other": other}
    works = [
        program.Work(recipe, name, target, reference, tmp_path, how)
        for name, target in targets.items()
    ]
    for work in works:
        program.calibrate(work)
    program.choose(recipe, targets, reference, tmp_path)
    dial = read_dial(tmp_path / "long")
    assert dial.strengths.same_vocabulary in program.STRENGTHS[True]
    assert dial.strengths.other_vocabulary in program.STRENGTHS[False]

    answers = program.measure(works[1])
    ways = {program.TARGET, program.SYSTEM, "best-of-n:n=8"}
    ways |= {program.method_of(s) for s in (*program.STRENGTHS[False], program.TURNED[False])}
    assert {answer.method for answer in answers} == ways
    assert not any(answer.drafted for answer in answers)
    program.measure_time(works[1])
    program.report_all([recipe], targets, tmp_path)
    shown = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert "3 prompts one by one" in shown
    assert "## long on own" not in shown  # which was not measured
    rows = [line for line in shown.splitlines() if line.startswith("| ")]
    assert len(rows) == 1 + len(ways)
    assert len({line.count("|") for line in rows}) == 1
    assert "above Best-of-8 | wins against the target | also conciseness" in rows[0]
