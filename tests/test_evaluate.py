"""Evaluation: what is run, what is kept, and what is made of it."""

from __future__ import annotations

import difflib
import json
import math
import re
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from typer.testing import CliRunner

import rewardshift
import rewardshift.methods
from rewardshift import Decoder
from rewardshift.bench import PROMPTS
from rewardshift.cli.app import app
from rewardshift.evaluate import (
    EvaluateOptions,
    Judges,
    RunFacts,
    Sample,
    evaluate,
    evaluation_prompts,
    read_samples,
    save_plots,
    summarise,
    write_report,
)
from rewardshift.evaluate.equal_gold import Outcomes, cost_at, equal_gold, equal_n
from rewardshift.evaluate.plots import pareto_front
from rewardshift.evaluate.report import gained, reached
from rewardshift.evaluate.run import jobs, seed_of
from rewardshift.evaluate.spec import split_spec
from rewardshift.evaluate.statistics import (
    acceptance_by_position,
    best_of_n_kl,
    bootstrap,
    distinct,
    mean_of,
    ratio_of,
    self_bleu,
    wins,
)
from rewardshift.train import topics
from tests.support.plain_methods import LongestOf, Plain
from tests.support.tiny_gguf import CHATML_TEMPLATE, bpe_vocab

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rewardshift.evaluate import Summary
    from rewardshift.methods import Method
    from rewardshift.rewards import Exchange
    from tests.conftest import Files

needs_methods = pytest.mark.skipif(
    not hasattr(rewardshift.methods, "METHODS"), reason="the methods are not here yet"
)

SPEC: dict[str, Any] = {"vocab": bpe_vocab(), "chat_template": CHATML_TEMPLATE, "seed": 1}
ROOT = Path(__file__).parents[1]
ASKED = ("a", "b b", "cd")
METHODS: dict[str, Method] = {
    "target": Plain(),
    "sss:strength=1": Plain(1.0),
    "best-of-n:n=2": LongestOf(2),
    "best-of-n:n=4": LongestOf(4),
}
QUICK = EvaluateOptions(max_tokens=12, seeds=2)


def length(exchanges: Sequence[Exchange]) -> list[float]:
    return [float(len(response)) for _, response in exchanges]


def count_of_a(exchanges: Sequence[Exchange]) -> list[float]:
    return [float(response.count("a")) for _, response in exchanges]


JUDGES = Judges(gold=count_of_a, training=length, gold_name="a", training_name="length")


@pytest.fixture
def roles(files: Files) -> dict[str, Any]:
    target, draft, reference = files.trio(**SPEC)
    return {
        "target": target.path,
        "draft": draft.path,
        "reference": reference.path,
        "n_ctx": 1024,
        "n_threads": 1,
    }


# --- the prompts --------------------------------------------------------------------------------


def test_the_prompts_are_of_several_kinds_and_two_parts() -> None:
    prompts = evaluation_prompts()
    assert len({p.prompt for p in prompts}) == len(prompts) >= 120
    kinds = {p.kind for p in prompts}
    assert len(kinds) == 7
    assert {p.kind for p in prompts[:7]} == kinds  # the first few are of all kinds
    held_out, calibration = evaluation_prompts("held_out"), evaluation_prompts("calibration")
    assert len(held_out) + len(calibration) == len(prompts)
    assert min(len(held_out), len(calibration)) >= 40
    for part in (held_out, calibration):
        assert {p.kind for p in part} == kinds


def test_no_prompt_is_one_that_something_else_uses() -> None:
    others = (ROOT / "benchmarks/held_out_prompts.txt").read_text(encoding="utf-8").splitlines()
    matchers = [difflib.SequenceMatcher(b=words(other)) for other in (*others, *PROMPTS)]
    made_up = [re.compile(pattern_of(form)) for form in topics._FORMS]
    for prompt in evaluation_prompts():
        assert not any(form.fullmatch(prompt.prompt.lower()) for form in made_up), prompt
        for matcher in matchers:
            matcher.set_seq1(words(prompt.prompt))
            assert matcher.ratio() < 0.6, prompt


def words(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())


def pattern_of(form: str) -> str:
    """Everything that a form of the built-in training prompts can become."""
    events = [event.replace("my ", "their ") for event in topics._EVENTS]
    fillings = {"thing": topics._THINGS, "thing2": topics._THINGS, "task": topics._TASKS}
    fillings |= {"event": topics._EVENTS, "person": topics._PEOPLE, "place": topics._PLACES}
    pattern = re.escape(form.lower())
    for name, choices in {**fillings, "event2": events}.items():
        either = "|".join(re.escape(choice.lower()) for choice in choices)
        pattern = pattern.replace(re.escape(f"{{{name}}}"), f"(?:{either})")
    return pattern


# --- the run ------------------------------------------------------------------------------------


def test_methods_take_turns_prompt_by_prompt() -> None:
    found = jobs(["x", "y", "z"], ["a", "b", "a"], 2)
    assert len(found) == len(set(found)) == 3 * 2 * 2  # a prompt that is repeated counts once
    for start in range(0, len(found), 3):
        block = found[start : start + 3]
        assert {job.method for job in block} == {"x", "y", "z"}
        assert len({(job.prompt, job.seed) for job in block}) == 1
    assert [job.method for job in found[::3]] == ["y", "z", "z", "x"]  # nobody is always first


def test_seeds_depend_on_the_job_alone() -> None:
    planned = jobs(["x", "y"], ["a", "b"], 3)
    seeds = {job: seed_of(job) for job in planned}
    assert len(set(seeds.values())) == len(planned)
    assert all(0 <= seed < 2**63 for seed in seeds.values())
    more = jobs(["x", "w", "y"], ["c", "a", "b"], 4)
    assert all(seed_of(job) == seeds[job] for job in more if job in seeds)


def test_every_sample_says_what_the_method_said(roles: dict[str, Any], tmp_path: Path) -> None:
    samples = evaluate(roles, METHODS, ASKED, tmp_path, JUDGES, QUICK)
    planned = jobs(list(METHODS), ASKED, QUICK.seeds)
    assert [s.key for s in read_samples(tmp_path / "samples.jsonl")] == planned
    assert sorted(s.key for s in samples) == sorted(planned)
    assert list(dict.fromkeys(s.method for s in samples)) == list(METHODS)
    with Decoder(**roles) as decoder:
        for sample in samples[::3]:
            tokens, _ = decoder.chat_prompts([{"role": "user", "content": sample.prompt}])
            answer = METHODS[sample.method].answer(
                decoder,
                sample.prompt,
                tokens,
                seed=seed_of(jobs([sample.method], [sample.prompt], sample.seed)[-1]),
                max_tokens=QUICK.max_tokens,
                temperature=QUICK.temperature,
            )
            assert (sample.text, sample.tokens) == (answer.text, len(answer.tokens))
            assert sample.name == METHODS[sample.method].name
            assert sample.gold == answer.text.count("a")
            assert sample.training == len(answer.text)
            assert sample.evaluated == answer.evaluated
            assert len(sample.log_z) == len(answer.log_z)
            assert sample.target_nats == pytest.approx(-np.mean(answer.target_logprobs), abs=0.05)
            if sample.method.startswith("best"):
                assert sample.kl is None
            else:
                own = decoder.score(tokens, answer.tokens, strength=0, temperature=0.8)
                expected = sum(answer.goal_logprobs) - own.goal_logprob
                assert sample.kl == pytest.approx(expected, abs=0.2)


def test_the_target_does_not_diverge_from_itself_and_a_shift_does(
    roles: dict[str, Any], tmp_path: Path
) -> None:
    two: dict[str, Method] = {"target": Plain(), "sss:strength=2": Plain(2.0)}
    options = replace(QUICK, seeds=8, max_tokens=20)
    plain, shifted = summarise(evaluate(roles, two, ASKED, tmp_path, JUDGES, options)).rows
    assert plain.kl == pytest.approx(0, abs=0.02)
    assert shifted.kl is not None
    assert shifted.kl > 0.1
    assert plain.z == []
    assert plain.acceptance is None
    assert len(shifted.z) == 20
    assert len(shifted.acceptance_by_position) == 3


def test_more_methods_prompts_and_seeds_add_to_a_run(roles: dict[str, Any], tmp_path: Path) -> None:
    few = dict(list(METHODS.items())[:2])
    evaluate(roles, few, ASKED[:2], tmp_path, JUDGES, replace(QUICK, seeds=1))
    path = tmp_path / "samples.jsonl"
    before = path.read_bytes()
    found = evaluate(roles, METHODS, ASKED, tmp_path, JUDGES, QUICK)
    assert path.read_bytes().startswith(before)
    assert len(read_samples(path)) == len(found) == len(METHODS) * len(ASKED) * QUICK.seeds
    # With everything there, nothing is written.
    gone = {**roles, "target": tmp_path / "gone.gguf"}
    with pytest.raises(ValueError, match="begun with models"):
        evaluate(gone, METHODS, ASKED, tmp_path, JUDGES, QUICK)
    written = path.stat().st_mtime_ns
    assert evaluate(roles, METHODS, ASKED, tmp_path, JUDGES, QUICK) == found
    assert path.stat().st_mtime_ns == written


def test_a_run_does_not_go_on_with_other_options(roles: dict[str, Any], tmp_path: Path) -> None:
    few = {"target": METHODS["target"]}
    evaluate(roles, few, ASKED[:1], tmp_path, JUDGES, QUICK)
    for other in (replace(QUICK, temperature=1.0), replace(QUICK, max_tokens=13)):
        with pytest.raises(ValueError, match="was begun with"):
            evaluate(roles, few, ASKED[:1], tmp_path, JUDGES, other)
    with pytest.raises(ValueError, match="begun with gold"):
        evaluate(roles, few, ASKED[:1], tmp_path, replace(JUDGES, gold_name="b"), QUICK)
    with pytest.raises(ValueError, match="nothing to evaluate"):
        evaluate(roles, {}, ASKED, tmp_path / "empty", JUDGES, QUICK)


def test_the_gold_reward_cannot_be_the_training_reward() -> None:
    with pytest.raises(ValueError, match="judged by another"):
        Judges(gold=length, training=length, gold_name="a", training_name="b")
    with pytest.raises(ValueError, match="judged by another"):
        Judges(gold=length, training=count_of_a, gold_name="vader", training_name="vader")


def test_a_run_that_was_killed_goes_on(roles: dict[str, Any], tmp_path: Path) -> None:
    folder, whole = tmp_path / "killed", tmp_path / "whole"
    path = folder / "samples.jsonl"
    code = f"""
import sys; sys.path[:0] = {[str(Path(rewardshift.__file__).parents[1]), str(ROOT)]!r}
from pathlib import Path
from tests.test_evaluate import ASKED, JUDGES, QUICK, evaluate
from tests.support.plain_methods import LongestOf, Plain
roles = { ({k: str(v) if isinstance(v, Path) else v for k, v in roles.items()})!r}
methods = {{"target": Plain(pause=0.2), "sss:strength=1": Plain(1.0, pause=0.2)}}
evaluate(roles, methods, ASKED, Path({str(folder)!r}), JUDGES, QUICK, progress=False)
"""
    process = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE)
    until = time.monotonic() + 120
    while not path.exists() or path.read_bytes().count(b"\n") < 3:
        assert process.poll() is None, process.communicate()[1].decode()
        assert time.monotonic() < until
        time.sleep(0.01)
    process.kill()
    process.communicate()
    begun = path.read_bytes()
    count = begun.count(b"\n")
    assert 3 <= count < len(ASKED) * 2 * QUICK.seeds
    with path.open("ab") as file:
        file.write(b'{"method": "target", "na')  # what a kill amid a write leaves

    two = {spec: METHODS[spec] for spec in ("target", "sss:strength=1")}
    found = evaluate(roles, two, ASKED, folder, JUDGES, QUICK)
    content = path.read_bytes()
    assert content.startswith(begun[: begun.rfind(b"\n") + 1])
    assert content.count(b"\n") == len(found) == len(ASKED) * 2 * QUICK.seeds
    assert b'"na{' not in content
    uninterrupted = evaluate(roles, two, ASKED, whole, JUDGES, QUICK)
    assert [(s.key, s.text) for s in found] == [(s.key, s.text) for s in uninterrupted]


def test_a_damaged_line_is_named(roles: dict[str, Any], tmp_path: Path) -> None:
    few = {"target": METHODS["target"]}
    evaluate(roles, few, ASKED[:1], tmp_path, JUDGES, QUICK)
    path = tmp_path / "samples.jsonl"
    path.write_text('{"method": "target"}\n' + path.read_text(encoding="utf-8"), encoding="utf-8")
    with pytest.raises(ValueError, match=r"samples\.jsonl:1 is no sample"):
        evaluate(roles, few, ASKED[:1], tmp_path, JUDGES, QUICK)


# --- statistics against values by hand ----------------------------------------------------------


def test_an_interval_covers_as_often_as_it_says() -> None:
    rng = np.random.default_rng(1)
    covered = 0
    for i in range(200):
        values = rng.normal(0.5, 1.0, size=(60, 1))
        found = bootstrap(mean_of(values), 60, seed=i)
        assert found.value == pytest.approx(values.mean())
        covered += found.low <= 0.5 <= found.high
    # 95 % nominally, a little less for a percentile interval of 60; 160 is 5 deviations below 90 %.
    assert 160 < covered <= 200
    with pytest.raises(ValueError, match="no prompts"):
        bootstrap(mean_of(values), 0)


def test_prompts_are_resampled_with_all_their_answers() -> None:
    # Two prompts with ten equal answers each: a mean is 0, 0.5 or 1, however many answers.
    values = np.repeat([[0.0], [1.0]], 10, axis=1)
    found = bootstrap(mean_of(values), 2)
    assert (found.value, found.low, found.high) == (0.5, 0.0, 1.0)


def test_a_ratio_is_of_sums() -> None:
    tokens, seconds = np.array([[10.0], [30.0]]), np.array([[1.0], [1.0]])
    found = bootstrap(ratio_of(tokens, seconds), 2)
    assert (found.value, found.low, found.high) == (20.0, 10.0, 30.0)
    assert f"{found:.1f}" == "20.0 [10.0, 30.0]"


def test_wins_count_every_meeting_and_half_of_the_ties() -> None:
    ours, theirs = np.array([[1.0, 2.0], [0.0, 0.0]]), np.array([[1.0, 0.0, 3.0], [0.0, 1.0, 0.0]])
    # (0.5 + 1 + 0 + 1 + 1 + 0) / 6 and (0.5 + 0 + 0.5) × 2 / 6
    np.testing.assert_allclose(wins(ours, theirs), [[3.5 / 6], [2 / 6]])
    np.testing.assert_allclose(wins(ours, ours), 0.5)
    np.testing.assert_allclose(wins(ours, theirs[:, :2]) + wins(theirs[:, :2], ours), 1)


def test_distinct_n_counts_within_each_text() -> None:
    assert distinct(["a b a", "A c"], 1) == 3 / 5
    assert distinct(["a b a", "a b"], 2) == 2 / 3  # ab, ba, ab; none across texts
    assert math.isnan(distinct(["a", ""], 2))


def test_self_bleu_is_bleu_against_the_others() -> None:
    assert self_bleu(["a b c d e"] * 3) == pytest.approx(1)
    # "a b c d" beside "a b c e": precisions 3/4, 2/3, 1/2 and none of 1, which counts as 1/2.
    pair = self_bleu(["a b c d", "a b c e"])
    assert pair == pytest.approx((3 / 4 * 2 / 3 * 1 / 2 * 1 / 2) ** (1 / 4))
    # Words may be matched as often as the reference has them; two words are short of three.
    # "a a": 1/2 and 1/2 (no match of 1), brevity exp(1 − 3/2); "a b c": 1/3, 1/4, 1/2.
    short = math.exp(1 - 3 / 2) * (1 / 2 * 1 / 2) ** (1 / 2)
    assert self_bleu(["a a", "a b c"]) == pytest.approx(
        (short + (1 / 3 * 1 / 4 * 1 / 2) ** (1 / 3)) / 2
    )
    # With several references each n-gram counts as in the one that has it most.
    a, b, c = "a a b", "a b", "b b"
    first = (2 / 3 * 1 / 2 * 1 / 2) ** (1 / 3)
    second = (2 / 2 * 1 / 1) ** (1 / 2)
    third = (1 / 2 * 1 / 2) ** (1 / 2)
    assert self_bleu([a, b, c]) == pytest.approx((first + second + third) / 3)
    assert math.isnan(self_bleu(["a b"]))
    assert self_bleu(["", "a"]) == pytest.approx(0.5 * 1 / 2)


def test_acceptance_is_pooled_by_decisions() -> None:
    # 8 first decisions of which 4 accept, 4 second of which 1 does; and 2 that all accept.
    one, two = (24, 5, (0.5, 0.25)), (4, 4, (1.0, 1.0))
    first, second = acceptance_by_position([one, two])
    assert first == pytest.approx((4 + 2) / (8 + 2))
    assert second == pytest.approx((1 + 2) / (4 + 2))
    none = acceptance_by_position([(6, 0, (0.0,))])  # as many decisions as drafts, all rejected
    assert none == [0.0]
    assert acceptance_by_position([]) == []


def test_best_of_n_s_divergence_is_exact_where_answers_differ() -> None:
    # The best of n uniform draws has density n u^(n−1): the integral of its log is the divergence.
    u = (np.arange(200_000) + 0.5) / 200_000
    for n in (1, 2, 8):
        density = n * u ** (n - 1)
        assert best_of_n_kl(n) == pytest.approx(np.mean(density * np.log(density)), abs=1e-4)


# --- equal gold ---------------------------------------------------------------------------------


def test_equal_n_is_interpolated_in_log_n() -> None:
    counts, golds = [1, 2, 8], [0.0, 1.0, 3.0]
    assert equal_n(counts, golds, -1.0) == 1
    assert equal_n(counts, golds, 0.5) == pytest.approx(math.sqrt(2))
    assert equal_n(counts, golds, 2.0) == pytest.approx(4)  # halfway from 2 to 8
    assert equal_n(counts, golds, 3.0) == pytest.approx(8)
    assert equal_n(counts, golds, 3.1) == math.inf
    assert equal_n([1, 2, 4], [0.0, 2.0, 1.0], 1.0) == pytest.approx(math.sqrt(2))  # the first
    assert cost_at(counts, [1.0, 2.0, 8.0], 4.0) == pytest.approx(4)
    assert cost_at(counts, [1.0, 2.0, 8.0], math.inf) == 8


def constant(gold: float, seconds: float) -> Outcomes:
    """Four prompts with one answer of ten tokens."""
    ones = np.ones((4, 1))
    return Outcomes(gold=gold * ones, tokens=10 * ones, seconds=seconds * ones)


def test_the_speed_up_is_taken_at_equal_gold() -> None:
    best_of = {1: constant(0.0, 1.0), 2: constant(1.0, 2.0), 8: constant(3.0, 8.0)}
    found = equal_gold(best_of, constant(2.0, 0.5))
    assert found.n.value == found.n.low == found.n.high == pytest.approx(4)
    assert found.speed_up.value == pytest.approx(8)
    assert reached(found) == "4.0 [4.0, 4.0]"
    assert gained(found) == "8.00 × [8.00, 8.00]"
    beyond = equal_gold(best_of, constant(9.0, 0.5))
    assert reached(beyond) == "> 8 [> 8, > 8]"
    assert gained(beyond) == "> 16.00 × [16.00, 16.00]"
    assert reached(equal_gold(best_of, constant(-1.0, 1.0))) == "≤ 1 [≤ 1, ≤ 1]"
    with pytest.raises(ValueError, match="no Best-of-N"):
        equal_gold({}, constant(1.0, 1.0))


def test_an_interval_may_end_beyond_what_was_run() -> None:
    rng = np.random.default_rng(3)
    ones = np.ones((30, 1))

    def noisy(gold: float, seconds: float) -> Outcomes:
        return Outcomes(gold + rng.normal(size=(30, 1)), 10 * ones, seconds * ones)

    best_of = {n: noisy(math.log2(n), float(n)) for n in (1, 2, 4, 8)}
    found = equal_gold(best_of, noisy(2.9, 1.0))
    assert found.n.low < found.n.value <= found.n.high == math.inf
    assert reached(found).endswith("> 8]")


# --- sums ---------------------------------------------------------------------------------------


def sample(method: str, prompt: str, seed: int, **other: Any) -> Sample:
    values = {
        "name": method.replace("best-of-n:n=", "best-of-"),
        "text": "a b",
        "tokens": 10,
        "finish_reason": "length",
        "seconds": 1.0,
        "calls": {"target": 5, "draft": 9},
        "evaluated": {"target": 20, "draft": 9},
        "gold": 1.0,
        "training": 2.0,
        "target_nats": math.log(3),
        "kl": 5.0,
        "drafted": 0,
        "accepted": 0,
        "acceptance_by_position": (),
        "log_z": (),
    }
    return Sample(method=method, prompt=prompt, seed=seed, **{**values, **other})


def made_up(strengths: Sequence[float] = (0.5, 1.0, 1.5), prompts: int = 40) -> list[Sample]:
    """A run as it could have been: rewards grow with strength and with log N."""
    rng = np.random.default_rng(5)
    ease = rng.normal(0, 0.4, prompts)
    found = []
    for prompt in range(prompts):
        for seed in (1, 2):

            def add(method: str, gold: float, seconds: float, **other: Any) -> None:
                noise = ease[prompt] + rng.normal(0, 0.8)  # noqa: B023
                taken = seconds * rng.uniform(0.9, 1.1)
                found.append(
                    sample(
                        *(method, f"prompt {prompt}", seed),  # noqa: B023
                        gold=gold + noise,
                        training=gold,
                        seconds=taken,
                        **other,
                    )
                )

            add("target", 0.0, 0.6)
            add("three-model", 1.0, 1.0)
            for n in (1, 2, 4, 8, 16):
                add(f"best-of-n:n={n}", 0.35 * math.log2(n), 0.5 + 0.12 * n, kl=None)
            for s in strengths:
                z = rng.normal(-0.1 * s, 0.3 * s, 30)
                draft = {"drafted": 30, "accepted": 12, "acceptance_by_position": (0.55, 0.5, 0.4)}
                add(f"sss:strength={s:g}", 1.1 * s - 0.1 * s * s, 0.8, log_z=tuple(z), **draft)
                add(
                    f"sss:strength={s:g},rule=paper",
                    *(1.0 * s - 0.1 * s * s, 0.75),
                    log_z=tuple(z - 0.1),
                    **draft,
                )
    return found


def test_rows_add_up_by_hand() -> None:
    samples = [
        sample("sss", "a", 1, gold=3.0, text="x y", drafted=8, accepted=3),
        sample("sss", "a", 2, gold=1.0, text="x y", drafted=2, accepted=1, tokens=30),
        sample("best-of-n:n=8", "a", 1, gold=2.0, seconds=4.0, kl=None),
        sample("best-of-n:n=8", "a", 2, gold=1.0, seconds=6.0, kl=None, target_nats=None),
        sample("target", "a", 1, gold=0.0),
        sample("target", "a", 2, gold=1.0, kl=None),
    ]
    summary = summarise(samples)
    assert (summary.baseline, summary.prompts, summary.seeds) == ("best-of-n:n=8", 1, 2)
    ours, best, plain = summary.rows
    assert (ours.strength, ours.rule, best.best_of, plain.strength) == (1.0, "exact", 8, None)
    assert ours.gold.value == 2
    assert ours.win_rate is not None
    assert ours.win_rate.value == (1 + 1 + 0 + 0.5) / 4
    assert ours.tokens_per_second.value == 40 / 2
    assert ours.seconds_per_token.value == 2 / 40
    assert ours.speed_up is not None
    assert ours.speed_up.value == pytest.approx(20 / (20 / 10))
    assert ours.calls == {"target": 5, "draft": 9, "reference": 0, "reward": 0}
    assert ours.tokens_per_evaluation == 20 / 5
    assert ours.acceptance == 4 / 10
    assert ours.distinct_1 == 2 / 4
    assert ours.self_bleu == pytest.approx(1)
    assert (ours.kl, ours.kl_is_bound) == (10 / 40, False)
    assert ours.perplexity == pytest.approx(3)
    assert (best.kl, best.kl_is_bound) == (best_of_n_kl(8) / 10, True)
    assert plain.kl is None  # of one answer the law is not known
    assert list(summary.equal) == ["sss"]  # Best-of-1 is the target
    assert summary.equal["sss"].smallest == 1


def test_what_cannot_be_added_up_is_refused() -> None:
    whole = [sample("target", p, s) for p in "ab" for s in (1, 2)]
    assert summarise(whole).baseline is None
    assert summarise(whole).rows[0].win_rate is None
    with pytest.raises(ValueError, match="no samples"):
        summarise([])
    with pytest.raises(ValueError, match="samples are missing"):
        summarise(whole[:-1])
    with pytest.raises(ValueError, match="none of the methods: target"):
        summarise(whole, baseline="best-of-n:n=8")


def test_methods_are_named_with_their_parameters() -> None:
    assert split_spec("sss:strength=0.5,rule=paper") == (
        "sss",
        {"strength": "0.5", "rule": "paper"},
    )
    assert split_spec("target") == ("target", {})
    for wrong in ("sss:strength", "sss:=1", "sss:strength="):
        with pytest.raises(ValueError, match="name=value"):
            split_spec(wrong)


# --- the report ---------------------------------------------------------------------------------

FACTS = RunFacts(
    command="rewardshift eval --n 40 --seeds 2",
    gold_name="afinn <b>",
    training_name="vader",
    temperature=0.8,
    max_tokens=64,
    ran_on={"target": "big.gguf", "machine": "a made-up one"},
)


@pytest.fixture
def summary() -> Summary:
    return summarise(made_up())


def test_the_front_is_what_nothing_beats() -> None:
    assert pareto_front([(2, 1), (1, 1), (3, 2), (3, 3), (4, 3), (0.5, 0)]) == [5, 1, 3]


def test_the_pictures_show_all_methods(summary: Summary, tmp_path: Path) -> None:
    plots = save_plots(summary, tmp_path, gold_name="AFINN")
    assert list(plots) == ["cost", "strength", "acceptance", "z"]
    drawn = {name: path.read_text(encoding="utf-8") for name, path in plots.items()}
    for text in ("N=16", "s=0.5", "Pareto front", "three-model", "SSS, rule paper"):
        assert f"<!-- {text} -->" in drawn["cost"], text
    assert "gold reward, AFINN" in drawn["strength"]
    for name in ("acceptance", "z"):
        assert "<!-- sss:strength=1.5 -->" in drawn[name]
    assert "rule=paper" not in drawn["z"]  # whose Z is nearly the same
    target_only = summarise([s for s in made_up() if s.method == "target"])
    assert list(save_plots(target_only, tmp_path, gold_name="AFINN")) == ["cost"]


def test_the_report_says_everything_twice(summary: Summary, tmp_path: Path) -> None:
    plots = save_plots(summary, tmp_path, gold_name="AFINN")
    markdown, page = (
        path.read_text(encoding="utf-8")
        for path in write_report(summary, FACTS, tmp_path, plots=plots)
    )
    columns = (
        *("gold reward", "training reward", "wins", "tokens/s", "seconds per answer", "speed-up"),
        *("target evaluations", "draft evaluations", "reference evaluations"),
        *("tokens per target evaluation", "accepted", "distinct-1", "distinct-2", "self-BLEU"),
        *("KL, nats/token", "equals Best-of-N at N", "speed-up there"),
    )
    said = ("40 prompts × 2 seeds", "big.gguf", "a made-up one", "What cannot be concluded")
    for text in (*columns, *said, FACTS.command, *(row.name for row in summary.rows)):
        assert text in markdown, text
        assert text in page, text
    assert "afinn &lt;b&gt;" in page
    assert "](cost.svg)" in markdown
    assert page.count('src="data:image/svg+xml;base64,') == 4
    assert not re.search(r'(src|href)="(?!data:)', page)  # needs no other file
    rows = [line for line in markdown.splitlines() if line.startswith("| ")]
    heads = rows[0].count("|")
    assert all(line.count("|") == heads for line in rows[: 1 + len(summary.rows)])
    equal = summary.equal["sss:strength=1"]
    assert f"| sss:strength=1 | {reached(equal)} | {gained(equal)} |" in markdown


def test_the_report_warns_where_numbers_mislead(tmp_path: Path) -> None:
    def warned(samples: list[Sample]) -> str:
        path, _ = write_report(summarise(samples), FACTS, tmp_path, plots={})
        return path.read_text(encoding="utf-8").partition("What cannot be concluded")[2]

    usual = made_up()
    assert "40 prompts are few" in warned(usual)
    assert "With one seed" not in warned(usual)
    assert "No Best-of-N up to" not in warned(made_up(strengths=(0.5,)))
    assert "With one seed" in warned([s for s in usual if s.seed == 1])
    far = [replace(s, gold=s.gold + 9) if s.method == "three-model" else s for s in usual]
    assert "No Best-of-N up to 16 has the gold reward of three-model" in warned(far)
    odd = [replace(s, target_nats=3.0) if s.method == "three-model" else s for s in usual]
    assert "finds the answers of three-model unlikely" in warned(odd)
    longer = [replace(s, tokens=20) if s.method == "three-model" else s for s in usual]
    assert "Answers differ in length (10 to 20" in warned(longer)


# --- the command --------------------------------------------------------------------------------

OWN = "tests.support.plain_methods"


@pytest.fixture
def command(
    roles: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., tuple[int, str]]:
    """Runs ``rewardshift eval`` on little in a folder of its own: exit code and output."""
    prompts = tmp_path / "prompts.jsonl"
    prompts.write_text("".join(json.dumps({"prompt": p}) + "\n" for p in ASKED), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    models = ("-m", roles["target"], "-md", roles["draft"], "--reference", roles["reference"])
    little = ("-t", 1, "-n", 12, "--n", 2, "--seeds", 2, "--prompts", prompts, "--out", "run")

    def run(*arguments: object) -> tuple[int, str]:
        words = ["eval", *map(str, (*models, *little, *arguments))]
        done = CliRunner().invoke(app, words)
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise done.exception
        return done.exit_code, done.output

    return run


def test_the_command_runs_methods_of_the_user_s_own(
    command: Callable[..., tuple[int, str]], tmp_path: Path
) -> None:
    methods = f"{OWN}.target {OWN}.shifted"
    code, out = command("--methods", methods, "--methods", f"{OWN}.longest")
    assert code == 0, out
    for text in ("2 prompts × 2", "plain s=1", "longest-of-4", "run/report.html"):
        assert text in out
    names = {path.name for path in (tmp_path / "run").iterdir()}
    assert names >= {"samples.jsonl", "options.json", "summary.json", "report.md", "report.html"}
    assert names >= {"cost.svg", "acceptance.svg", "z.svg"}
    report = (tmp_path / "run/report.md").read_text(encoding="utf-8")
    assert f"--methods '{methods} {OWN}.longest'" in report
    assert "reference: llama-" in report

    written = (tmp_path / "run/samples.jsonl").read_bytes()
    code, out = command("--methods", methods, "--against", f"{OWN}.target", "--json")
    assert code == 0, out
    told = json.loads(out)
    assert [row["name"] for row in told["rows"]] == ["plain s=0", "plain s=1"]
    assert told["rows"][0]["speed_up"]["value"] == 1
    assert (tmp_path / "run/samples.jsonl").read_bytes() == written


@needs_methods
def test_the_command_compares_by_default_what_the_models_can_do(
    command: Callable[..., tuple[int, str]], tmp_path: Path
) -> None:
    code, out = command()
    assert code == 0, out
    assert "at equal gold reward" in out
    told = json.loads((tmp_path / "run/summary.json").read_text(encoding="utf-8"))
    kinds = [row["method"] for row in told["rows"]]
    assert kinds[:3] == ["target", "three-model", "sss:strength=0.5"]
    assert kinds[-1] == "best-of-n:n=16"
    assert told["baseline"] == "best-of-n:n=8"
    assert set(told["equal"]) == set(kinds[1:6])
    assert {path.name for path in (tmp_path / "run").glob("*.svg")} == {
        *("cost.svg", "strength.svg", "acceptance.svg", "z.svg")
    }


def test_the_command_refuses_what_cannot_be(command: Callable[..., tuple[int, str]]) -> None:
    for arguments, said in (
        (("--gold", "vader"), "judge by another reward"),
        (("--gold", "nice"), "not 'nice'"),
        (("--question", "good? {response}"), "for a judge"),
        (("--n", 0), "--n must be at least 1"),
        (("--methods", "no-such-method"), "no-such-method"),
        (("--methods", f"{OWN}.no_such"), "no_such"),
        (("--methods", f"{OWN}.target", "--against", "best-of-n"), "none of"),
    ):
        code, out = command(*arguments)
        assert code == 2, out
        assert said in out
