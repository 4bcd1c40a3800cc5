"""What is made of an evaluation: statistics against values by hand, the report, the pictures."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from rewardshift.evaluate import RunFacts, Sample, save_plots, summarise, write_report
from rewardshift.evaluate.equal_gold import Outcomes, cost_at, equal_gold, equal_n, rising
from rewardshift.evaluate.plots import pareto_front
from rewardshift.evaluate.report import gained, reached
from rewardshift.evaluate.statistics import (
    best_of_n_kl,
    bootstrap,
    decisions,
    distinct,
    mean_of,
    ratio_of,
    self_bleu,
    wins,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from rewardshift.evaluate import Interval, Summary


# --- statistics against values by hand ----------------------------------------------------------


def test_an_interval_covers_as_often_as_it_says() -> None:
    rng = np.random.default_rng(1)
    covered = 0
    for i in range(200):
        values = rng.normal(0.5, 1.0, size=(60, 1))
        found = bootstrap(mean_of(values), 60, seed=i)
        assert found.value == pytest.approx(values.mean())
        covered += found.low <= 0.5 <= found.high
    # 95 % nominally, a little less for a percentile interval of 60; 158 is 5 deviations below 90 %.
    assert 158 < covered <= 200
    with pytest.raises(ValueError, match="no prompts"):
        bootstrap(mean_of(values), 0)


def test_an_interval_is_as_long_as_theory_has_it() -> None:
    values = np.random.default_rng(2).normal(3.0, 2.0, size=(2000, 1))
    found = bootstrap(mean_of(values), 2000)
    half = 1.96 * values.std() / math.sqrt(2000)
    assert found.high - found.value == pytest.approx(half, rel=0.08)
    assert found.value - found.low == pytest.approx(half, rel=0.08)


def test_prompts_are_resampled_with_all_their_answers() -> None:
    values = np.random.default_rng(4).normal(size=(12, 1))
    found = bootstrap(mean_of(np.repeat(values, 10, axis=1)), 12)
    alone = bootstrap(mean_of(values), 12)
    assert (found.low, found.high) == pytest.approx((alone.low, alone.high))


def test_few_prompts_have_no_interval() -> None:
    values = np.arange(10.0)[:, None]
    few, enough = bootstrap(mean_of(values[:9]), 9), bootstrap(mean_of(values), 10)
    assert few.value == 4
    assert math.isnan(few.low)
    assert math.isnan(few.high)
    assert (f"{few:.1f}", f"{few:+.2f}") == ("4.0", "+4.00")
    assert re.fullmatch(r"4\.5 \[\d\.\d, \d\.\d\]", f"{enough:.1f}")


def test_a_ratio_is_of_sums() -> None:
    tokens, seconds = np.array([[10.0], [30.0]] * 5), np.array([[1.0], [3.0]] * 5)
    found = bootstrap(ratio_of(tokens, seconds), 10)
    assert (found.value, found.low, found.high) == (10.0, 10.0, 10.0)
    halves = bootstrap(ratio_of(tokens, np.ones((10, 1))), 10)
    assert halves.value == 20
    assert 10 <= halves.low < 20 < halves.high <= 30


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


def test_decisions_are_pooled() -> None:
    # 8 first decisions of which 4 accept, 4 second of which 1 does; and 2 that all accept.
    one, two = (24, 5, (0.5, 0.25)), (4, 4, (1.0, 1.0))
    accepted, decided = decisions([one, two])
    np.testing.assert_allclose(accepted, [4 + 2, 1 + 2])
    np.testing.assert_allclose(decided, [8 + 2, 4 + 2])
    # Of unequal lengths; and as many decisions as drafts, all rejected.
    accepted, decided = decisions([one, (6, 0, (0.0,))])
    np.testing.assert_allclose(accepted, [4, 1])
    np.testing.assert_allclose(decided, [8 + 6, 4])
    assert [len(found) for found in decisions([])] == [0, 0]


def test_best_of_n_s_divergence_is_exact_where_answers_differ() -> None:
    # The best of n uniform draws has density n u^(n−1): the integral of its log is the divergence.
    u = (np.arange(200_000) + 0.5) / 200_000
    for n in (1, 2, 8):
        density = n * u ** (n - 1)
        assert best_of_n_kl(n) == pytest.approx(np.mean(density * np.log(density)), abs=1e-4)


# --- equal gold ---------------------------------------------------------------------------------


def test_equal_n_is_interpolated_in_log_n() -> None:
    counts, gold = [1, 2, 8], np.array([-1.0, 0.0, 0.5, 2.0, 3.0, 3.1])
    golds = np.repeat([[0.0, 1.0, 3.0]], len(gold), axis=0)
    # halfway from 2 to 8 is 4
    expected = [0, 1, math.sqrt(2), 4, 8, math.inf]
    np.testing.assert_allclose(equal_n(counts, golds, gold), expected)
    alone = equal_n([4], np.array([[1.0]] * 3), np.array([0.0, 1.0, 2.0]))
    np.testing.assert_array_equal(alone, [0, 4, math.inf])
    costs = np.repeat([[1.0, 2.0, 8.0]], 3, axis=0)
    np.testing.assert_allclose(cost_at(counts, costs, np.array([1.5, 4.0, math.inf])), [1.5, 4, 8])
    assert cost_at([1, 2, 8], np.array([[1.0, 3.0, 9.0]]), np.array([4.0])) == pytest.approx(5)


def test_noise_on_best_of_n_s_curve_is_smoothed_before_it_is_crossed() -> None:
    golds = np.array([[0.0, 2.0, 1.0, 3.0], [3.0, 2.0, 1.0, 0.0], [0.0, 1.0, 1.0, 4.0]])
    smooth = [[0, 1.5, 1.5, 3], [1.5, 1.5, 1.5, 1.5], [0, 1, 1, 4]]
    np.testing.assert_allclose(rising(golds), smooth)
    # The first crossing of 2 is at N = 2; of the smoothed curve it is a third of 4 to 8.
    found = equal_n([1, 2, 4, 8], golds[:1], np.array([2.0]))
    assert found == pytest.approx(4 * 2 ** (1 / 3))
    # Where the expected curve gets there at 4, noisy ones do so before as often as after: of 4000
    # half, with a deviation of 0.8 %. The first crossing comes before in 66 %, its median is 3.1.
    noisy = np.random.default_rng(7).normal(np.log2([1, 2, 4, 8, 16]), 1.5, size=(4000, 5))
    n = equal_n([1, 2, 4, 8, 16], noisy, np.full(4000, 2.0))
    assert 0.46 < np.mean(n < 4) < 0.54


def constant(gold: float, seconds: float) -> Outcomes:
    """Ten prompts with one answer of ten tokens."""
    ones = np.ones((10, 1))
    return Outcomes(gold=gold * ones, tokens=10 * ones, seconds=seconds * ones)


def test_the_speed_up_is_taken_at_equal_gold() -> None:
    best_of = {1: constant(0.0, 1.0), 2: constant(1.0, 2.0), 8: constant(3.0, 8.0)}
    found = equal_gold(best_of, constant(2.0, 0.5))
    assert found.n.value == found.n.low == found.n.high == pytest.approx(4)
    assert found.speed_up.value == pytest.approx(8)
    assert reached(found) == "4.0 [4.0, 4.0]"
    assert gained(found) == "8.00 × [8.00, 8.00]"
    beyond = equal_gold(best_of, constant(9.0, 0.5))
    assert (beyond.n.value, beyond.speed_up.value) == (math.inf, math.inf)
    assert reached(beyond) == "> 8 [> 8, > 8]"
    assert gained(beyond) == "> 16.00 × [> 16.00, > 16.00]"
    below = equal_gold(best_of, constant(-1.0, 0.5))
    assert (below.n.value, below.speed_up.value) == (0, 0)
    assert reached(below) == "< 1 [< 1, < 1]"
    assert gained(below) == "–"
    as_one = equal_gold(best_of, constant(0.0, 0.5))
    few = [replace(o, gold=o.gold[:9]) for o in (constant(0.0, 1.0), constant(0.5, 0.5))]
    assert reached(equal_gold({1: few[0], 2: constant(1.0, 2.0)}, few[1])) == "1.4"
    assert (reached(as_one), gained(as_one)) == ("1.0 [1.0, 1.0]", "2.00 × [2.00, 2.00]")
    with pytest.raises(ValueError, match="no Best-of-N"):
        equal_gold({}, constant(1.0, 1.0))


@pytest.mark.parametrize(
    ("gold", "n", "speed_up"),
    [
        (0.15, r"1\.\d \[< 1, 1\.\d\]", r"1\.\d\d × \[< 1\.00, 1\.\d\d\]"),
        (2.9, r"7\.\d \[\d\.\d, > 8\]", r"7\.\d\d × \[\d\.\d\d, > 8\.00\]"),
        (3.1, r"> 8 \[\d\.\d, > 8\]", r"> 8\.00 × \[\d\.\d\d, > 8\.00\]"),
        (-0.1, r"< 1 \[< 1, 1\.\d\]", "–"),
    ],
)
def test_an_interval_may_end_beyond_what_was_run(gold: float, n: str, speed_up: str) -> None:
    ones = np.ones((30, 1))
    spread = np.linspace(-1, 1, 30)[:, None]  # of the method's gold rewards alone

    def level(gold: float, seconds: float) -> Outcomes:
        return Outcomes(gold * ones, 10 * ones, seconds * ones)

    best_of = {n: level(math.log2(n), float(n)) for n in (1, 2, 4, 8)}
    found = equal_gold(best_of, replace(level(gold, 1.0), gold=gold + spread))
    assert re.fullmatch(n, reached(found))
    assert re.fullmatch(speed_up, gained(found))


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
    drafts = {"drafted": 24, "accepted": 5, "acceptance_by_position": (0.5, 0.25)}
    rejected = {"drafted": 2, "accepted": 0, "acceptance_by_position": (0.0,)}
    samples = [
        sample("sss", "a", 1, gold=3.0, text="x y", **drafts),
        sample("sss", "a", 2, gold=1.0, text="x y", tokens=30, target_nats=math.log(5), **rejected),
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
    assert ours.gain is not None
    assert ours.gain.value == (3 + 1 - 2 - 1) / 2
    assert ours.win_rate is not None
    assert ours.win_rate.value == (1 + 1 + 0 + 0.5) / 4
    assert ours.tokens_per_second.value == 40 / 2
    assert ours.speed_up is not None
    assert ours.speed_up.value == pytest.approx(20 / (20 / 10))
    assert ours.calls == {"target": 5, "draft": 9, "reference": 0, "reward": 0}
    assert ours.tokens_per_evaluation == 20 / 5
    assert ours.acceptance == pytest.approx(5 / (8 + 4 + 2))  # of the decisions, not of 26 drafts
    assert ours.acceptance_by_position == pytest.approx([4 / 10, 1 / 4])
    assert ours.distinct_1 == 2 / 4
    assert ours.self_bleu == pytest.approx(1)
    assert ours.kl is not None
    assert (ours.kl.value, ours.kl_is_bound) == (10 / 40, False)
    assert ours.perplexity is not None
    assert ours.perplexity.value == pytest.approx((3**10 * 5**30) ** (1 / 40))
    assert ours.perplexity_ratio is not None
    assert ours.perplexity_ratio.value == pytest.approx(ours.perplexity.value / 3)
    assert best.kl is not None
    assert best.kl.value == pytest.approx(best_of_n_kl(8) / 10)
    assert best.kl_is_bound
    assert best.perplexity is not None
    assert best.perplexity.value == pytest.approx(3)  # of the one answer that has tokens
    assert plain.kl is None  # of one answer the law is not known
    assert list(summary.equal) == ["sss"]  # Best-of-1 is the target
    assert summary.equal["sss"].smallest == 1


def test_perplexities_are_compared_prompt_by_prompt() -> None:
    nats = np.random.default_rng(6).uniform(0.5, 4.0, 30)  # how hard a prompt is for the target
    rows = summarise(
        [
            sample(method, f"{i}", 1, target_nats=nats[i] + more)
            for method, more in (("target", 0.0), ("sss", math.log(2)))
            for i in range(30)
        ]
    ).rows
    for row, ratio in zip(rows, (1, 2), strict=True):
        assert row.perplexity is not None
        assert row.perplexity.value == pytest.approx(ratio * math.exp(nats.mean()))
        assert row.perplexity.high > 1.2 * row.perplexity.low
        assert row.perplexity_ratio is not None
        found = row.perplexity_ratio
        assert (found.low, found.value, found.high) == pytest.approx((ratio, ratio, ratio))
    alone = summarise([sample("sss", "a", 1), sample("mine", "a", 1, target_nats=None)]).rows
    assert [row.perplexity_ratio for row in alone] == [None, None]
    assert alone[1].perplexity is None


def test_where_an_answer_does_not_tell_its_decisions_acceptance_is_unknown() -> None:
    told = {"drafted": 8, "accepted": 4, "acceptance_by_position": (0.5,)}
    untold = {"drafted": 8, "accepted": 4}
    rows = summarise(
        [
            *(sample("gsi", "a", seed, **untold) for seed in (1, 2)),
            *(sample("sss", "a", seed, **told) for seed in (1, 2)),
            *(sample("mine", "a", seed, **(told, untold)[seed - 1]) for seed in (1, 2)),
        ]
    ).rows
    assert [row.acceptance for row in rows] == [None, 0.5, None]
    assert [row.acceptance_by_position for row in rows] == [[], [0.5], []]


def test_z_ends_at_the_first_position_that_too_few_answers_reach() -> None:
    # The second position has a finite Z in 5 of 12 answers only, the third in all.
    some = [(0.0, 1.0 if seed < 5 else None, 2.0) for seed in range(12)]
    (row,) = summarise([sample("sss", "a", i, log_z=z) for i, z in enumerate(some)]).rows
    assert row.z == [[1.0] * 5]


def test_gains_are_taken_prompt_by_prompt() -> None:
    # Prompts differ a lot, the methods always by 1: that difference has no width.
    samples = [
        sample(method, f"{prompt}", 1, gold=prompt + better)
        for method, better in (("best-of-n:n=8", 0.0), ("sss", 1.0))
        for prompt in range(20)
    ]
    best, ours = summarise(samples).rows
    assert ours.gold.low < best.gold.high  # the brackets overlap
    assert ours.gain is not None
    assert (ours.gain.low, ours.gain.high) == pytest.approx((1, 1))
    assert best.gain is not None
    assert (best.gain.low, best.gain.value, best.gain.high) == (0, 0, 0)


def test_what_cannot_be_added_up_is_refused() -> None:
    whole = [sample("target", p, s) for p in "ab" for s in (1, 2)]
    assert summarise(whole).baseline is None
    assert summarise(whole).rows[0].win_rate is None
    with pytest.raises(ValueError, match="no samples"):
        summarise([])
    with pytest.raises(ValueError, match="samples are missing"):
        summarise(whole[:-1])
    with pytest.raises(ValueError, match=r"several samples of \('target', 'b', 2\)"):
        summarise([*whole, whole[-1]])
    with pytest.raises(ValueError, match="none of the methods: target"):
        summarise(whole, baseline="best-of-n:n=8")


def test_rows_know_what_a_method_s_name_says_and_its_defaults() -> None:
    known = {
        "target": (None, None, None),
        "three-model:strength=2": (None, None, None),
        "sss": (None, 1.0, "exact"),
        "sss:strength=1,rule=exact,num_draft_tokens=none": (None, 1.0, "exact"),
        "sss:rule=paper,strength=0.5": (None, 0.5, "paper"),
        "best-of-n": (8, None, None),
        "best-of-n:n=8,beta=none": (8, None, None),
        "best-of-n:n=4": (4, None, None),
        "my_module.my_function": (None, None, None),
        "best-of-n, as I do it": (None, None, None),
        "sss:in my own way": (None, None, None),
    }
    rows = summarise([sample(method, "a", 1) for method in known]).rows
    assert {row.method: (row.best_of, row.strength, row.rule) for row in rows} == known


def test_a_soft_best_of_n_is_a_method_among_the_others() -> None:
    soft = ("best-of-n:beta=1", "soft-best-of-n:n=4")
    summary = summarise([sample(m, "a", 1) for m in ("target", "best-of-n:n=2", *soft)])
    assert summary.baseline == "best-of-n:n=2"
    assert list(summary.equal) == list(soft)
    for row in map(summary.row, soft):
        assert row.kl is not None
        assert (row.best_of, row.kl.value, row.kl_is_bound) == (None, 5.0 / 10, False)
    assert summarise([sample("best-of-n:beta=1", "a", 1)]).baseline is None


# --- the report ---------------------------------------------------------------------------------

FACTS = RunFacts(
    command="rewardshift eval --num-prompts 40 --seeds 2",
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
    equal = summary.equal["sss:strength=1"]
    assert f"| sss:strength=1 | {reached(equal)} | {gained(equal)} |" in markdown


def report_of(samples: list[Sample], folder: Path) -> tuple[str, str]:
    markdown, page = write_report(summarise(samples), FACTS, folder, plots={}, samples=samples)
    return markdown.read_text(encoding="utf-8"), page.read_text(encoding="utf-8")


def table_of(markdown: str, title: str) -> dict[str, dict[str, str]]:
    """Cells of the first table below a heading, by method and column."""
    section = markdown.partition(f"\n## {title}\n")[2].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return {row[0]: dict(zip(cells[0], row, strict=True)) for row in cells[2:]}


def numbers(cell: str) -> list[float]:
    return [float(x.replace(",", "")) for x in re.findall(r"[+-]?\d[\d,]*\.?\d*", cell)]


def test_every_cell_says_what_its_column_promises(tmp_path: Path) -> None:
    calls = {"target": 7, "draft": 21, "reference": 14, "reward": 3}
    evaluated = {"target": 28, "draft": 31, "reference": 1950, "reward": 5}
    samples = [
        replace(s, calls=calls, evaluated=evaluated, text=f"{s.text} {s.gold:.1f} {s.seed}")
        for s in made_up(prompts=12)
    ]
    row, (markdown, _) = summarise(samples).row("sss:strength=1"), report_of(samples, tmp_path)
    assert row.gain is not None
    assert row.win_rate is not None
    assert row.speed_up is not None
    assert row.kl is not None
    assert row.perplexity is not None

    def three(found: Interval, factor: float = 1) -> list[float]:
        return [factor * found.value, factor * found.low, factor * found.high]

    expected: dict[str, dict[str, list[float]]] = {
        "Results": {
            "gold reward (afinn <b>)": three(row.gold),
            "gold − best-of-8": three(row.gain),
            "wins": three(row.win_rate, 100),
            "speed-up": three(row.speed_up),
            "training reward (vader)": three(row.training),
            "tokens/s": [row.tokens_per_second.value],
        },
        "Cost": {
            "seconds per answer": [row.seconds.value],
            **{f"{role} evaluations": [row.calls[role], row.evaluated[role]] for role in calls},
            "tokens per target evaluation": [10 / 7],
            "accepted": [row.acceptance or 0],
        },
        "Text": {
            "tokens": [row.tokens],
            "distinct-1": [row.distinct_1],
            "distinct-2": [row.distinct_2],
            "self-BLEU": [row.self_bleu],
            "KL, nats/token": three(row.kl),
            "perplexity": three(row.perplexity),
        },
    }
    for title, columns in expected.items():
        cells = table_of(markdown, title)["sss:strength=1"]
        assert list(cells) == ["method", *columns]
        for head, values in columns.items():
            close = 0.51 if head == "wins" else 0.05 if head == "tokens/s" else 0.00501
            assert numbers(cells[head]) == pytest.approx(values, abs=close), head
            assert f"\n- {head}: " in markdown  # the glossary
    assert table_of(markdown, "Cost")["target"]["reference evaluations"] == "14 (1,950)"
    base = table_of(markdown, "Results")["best-of-8"]
    assert {base[head] for head in ("gold − best-of-8", "wins", "speed-up")} == {"baseline"}
    for other in ("target", "best-of-16", "three-model"):
        assert "baseline" not in table_of(markdown, "Results")[other].values()


def test_without_a_baseline_there_is_nothing_to_compare(tmp_path: Path) -> None:
    markdown, _ = report_of([sample("target", "a", 1)], tmp_path)
    assert list(table_of(markdown, "Results")["target"]) == [
        *("method", "gold reward (afinn <b>)", "training reward (vader)", "tokens/s")
    ]
    assert "No Best-of-N was run" in markdown


def test_answers_to_the_first_prompts_are_shown_as_they_are(tmp_path: Path) -> None:
    samples = [
        sample(method, prompt, seed, text=f"so *good* <b>\n{method} {prompt} {seed}", gold=seed / 4)
        for method in ("target", "mine")
        for prompt in ("one?", "two?", "three?")
        for seed in (1, 2)
    ]
    markdown, page = report_of(samples, tmp_path)
    assert "- mine, gold 0.25: so \\*good\\* \\<b\\> mine two? 1\n" in markdown
    assert "<dt>mine, gold 0.25</dt><dd>so *good* &lt;b&gt;\nmine two? 1</dd>" in page
    assert "\n\nPrompt: two?\n\n- target, gold 0.25: " in markdown
    assert "<p>Prompt: two?</p><dl><dt>target, gold 0.25</dt>" in page
    for text in (markdown, page):
        assert text.count("mine one? 1") == text.count("target two? 1") == 1
        assert "three?" not in text
        assert "one? 2" not in text
    without, _ = write_report(summarise(samples), FACTS, tmp_path, plots={})
    assert "## Answers" not in without.read_text(encoding="utf-8")


def test_the_report_says_why_there_are_no_intervals(tmp_path: Path) -> None:
    path, _ = write_report(summarise(made_up(prompts=9)), FACTS, tmp_path, plots={})
    report = path.read_text(encoding="utf-8")
    assert "There are no intervals: 9 prompts" in report
    assert "[" not in report.replace("![", "")
    assert "nan" not in report


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
    assert "timed in another run" not in warned(usual)
    beside = [replace(s, method=f"old/{s.method}", name=f"{s.name} (old)") for s in usual]
    others = [s for s in beside if s.method == "old/three-model"]
    assert f"{others[0].name} were timed in another run" in warned([*usual, *others])

    def unlikely(method: str, times: float, *, of: int = 40) -> str:
        worse = {f"prompt {i}" for i in range(of)}
        return warned(
            [
                replace(s, target_nats=math.log(3 * times))
                if s.method == method and s.prompt in worse
                else s
                for s in usual
            ]
        )

    assert "finds the answers of three-model unlikely" in unlikely("three-model", 1.6)
    assert "unlikely" not in unlikely("three-model", 1.4)
    assert "unlikely" not in unlikely("best-of-n:n=16", 1.6)
    # 1.6 times on average, but for a few prompts' sake: other prompts might have less.
    assert "unlikely" not in unlikely("three-model", 1.6**8, of=5)
    longer = [replace(s, tokens=20) if s.method == "three-model" else s for s in usual]
    assert "Answers differ in length (10 to 20" in warned(longer)


def test_the_report_says_what_methods_are_set_to(tmp_path: Path) -> None:
    def warned(name: str, method: str = "mine", **other: Any) -> str:
        samples = [sample(method, "a", 1, name=name, **other)]
        path, _ = write_report(summarise(samples), FACTS, tmp_path, plots={})
        return path.read_text(encoding="utf-8").partition("What cannot be concluded")[2]

    for name in ("args k=10 w=1", "cards", "gsi n=4", "rsd n=4 (other)", "soft-best-of-8 beta=1"):
        assert "only CARDS' r* was adapted" in warned(name), name
    for name in ("target", "best-of-8", "sss exact s=1", "argsy", "tree-cards"):
        assert "only CARDS' r* was adapted" not in warned(name), name
    assert "ARGS is greedy" in warned("args k=10 w=1", "args")
    assert "ARGS is greedy" not in warned("args k=10 w=1", "args:stochastic=true")
    assert "drafts a fixed number of tokens" in warned("sss exact s=1")
    assert "drafts a fixed number of tokens" not in warned("three-model s=1")
    assert "The prompt's evaluation is not in the times" in warned("target")
    assert "rsd n=4 never asked the target" in warned("rsd n=4", calls={"draft": 9})
    assert "never asked the target" not in warned("rsd n=4", calls={"draft": 9, "target": 1})
    assert "never asked the target" not in warned("mine", calls={})
