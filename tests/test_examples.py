"""The examples run, and answer the question they are named after."""

from __future__ import annotations

import math
import runpy
import sys
from collections.abc import Callable
from dataclasses import replace
from itertools import cycle
from typing import TYPE_CHECKING, Any

import pytest

from rewardshift.evaluate import EqualGold, Interval

from .support.documents import ROOT, write_example_models

if TYPE_CHECKING:
    from pathlib import Path

    from rewardshift.evaluate import Sample

EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
ANSWERS = {  # of tiny models, whose words are none that AFINN knows
    "is_my_draft_aligned_enough": "The shift is mild up to strength 2",
    "which_strength": "None has surely more reward than the target alone",
    "best_of_n_or_sss": "SSS has no more reward than one plain sample",
}
RunExample = Callable[..., dict[str, Any]]


@pytest.fixture
def run_example(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunExample:
    """Runs an example with arguments in a folder of its own; what it defines."""
    write_example_models(tmp_path)
    monkeypatch.chdir(tmp_path)

    def run(name: str, *arguments: str) -> dict[str, Any]:
        path = str(ROOT / "examples" / f"{name}.py")
        monkeypatch.setattr(sys, "argv", [path, *arguments])
        return runpy.run_path(path, run_name="__main__")

    return run


MODELS = ("big.gguf", "small-dpo.gguf", "small.gguf", "--num-prompts", "2")


@pytest.mark.parametrize("name", ANSWERS)
def test_an_example_answers_its_question(
    name: str, run_example: RunExample, capsys: pytest.CaptureFixture[str]
) -> None:
    run_example(name, *MODELS)
    assert ANSWERS[name] in capsys.readouterr().out


@pytest.mark.parametrize("name", ANSWERS)
def test_an_example_refuses_some_models_without_the_others(
    name: str, run_example: RunExample, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        run_example(name, "big.gguf", "small.gguf")
    assert "give a target, a draft and a reference" in capsys.readouterr().err


def test_the_strength_is_the_least_that_may_well_be_the_best(run_example: RunExample) -> None:
    count = 12  # prompts, of two kinds
    found = run_example("which_strength", *MODELS[:-1], str(count))
    # Gold rewards of the two kinds, by strength; perplexities are all 2.
    golds = {0: (0, 0), 0.25: (1, 1), 0.5: (2, 6), 0.75: (4, 4.5), 1: (5, 4), 1.5: (4, 4)}

    def advice(**costly: float) -> str:
        samples: list[Sample] = []
        for start in range(0, len(found["samples"]), count):
            answers = found["samples"][start : start + count]
            strength = float(answers[0].method.partition("=")[2] or 0)
            nats = math.log(2 * costly.get(f"s{strength:g}".replace(".", "_"), 1))
            samples += [
                replace(s, gold=gold, target_nats=nats)
                for s, gold in zip(answers, cycle(golds[strength]), strict=False)
            ]
        return str(found["advice"](samples))

    assert advice().startswith("Take strength 0.5:")  # 1 has more, in one prompt of two
    assert advice(s0_5=1.3).startswith("Take strength 0.75:")
    everything = dict.fromkeys(("s0_25", "s0_5", "s0_75", "s1", "s1_5"), 1.3)
    assert advice(**everything).startswith("All cost more")


def test_intervals_decide_between_best_of_n_and_sss(run_example: RunExample) -> None:
    advice = run_example("best_of_n_or_sss", *MODELS)["advice"]
    faster, slower, unsure = Interval(2, 1.5, 3), Interval(0.5, 0.4, 0.9), Interval(1, 0.9, 1.1)
    some, plain, none = Interval(3, 2, 5), Interval(1, 1, 1), Interval(*[math.inf] * 3)
    few = Interval(3, math.nan, math.nan)
    for n, speed_up, said in (
        (some, faster, "there: take SSS"),
        (some, slower, "there: take Best-of-N"),
        (some, unsure, "there: too close to call"),
        (plain, faster, "SSS has no more reward than one plain sample"),
        (none, faster, "No Best-of-N up to 16 has the reward of SSS: take SSS"),
        (Interval(3, 1, 7), faster, "too few prompts"),
        (Interval(0, 0, 2), faster, "too few prompts"),
        (few, few, "too few prompts"),
        (Interval(12, 9, math.inf), faster, "too few prompts"),
        (Interval(math.inf, 9, math.inf), slower, "too few prompts"),
    ):
        found = EqualGold(n, speed_up, largest=16, smallest=1, at_largest=1.0, at_smallest=1.0)
        assert said in advice(found)


def test_every_question_has_its_example() -> None:
    assert {path.stem for path in EXAMPLES} == set(ANSWERS)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_is_short_and_says_how_to_run_it(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()
    assert len(lines) < 80
    assert any(f"python examples/{path.name}" in line for line in lines[:6])
    assert not any("rewardshift._" in line for line in lines)  # the public API only
