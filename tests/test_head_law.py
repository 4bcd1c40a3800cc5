"""Responses that heads shift follow their goal, however they are drafted and whoever is beside.

Heads read the features of the same target, alone, together, beside a pair and beside a base. Checks
are Pearson's chi-square, as in test_shift_law.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from rewardshift import Decoder, TableModel, _core
from tests.support import enumerate_law as oracle
from tests.support.heads import Head
from tests.support.panels import Readers, Wish, observe, p_values, play, submit, text_of
from tests.support.worlds import distance, random_table

pytestmark = pytest.mark.statistical

P_VALUE = 1e-9
N = 3000

ALONE = Readers(("p", "h"), (("a", "h", None, 1.0),), seed=21)
BASED = Readers(("p", "h", "b"), ALONE.shifts, "b", seed=22)
TWO = Readers(
    ("p", "h1", "h2", "b"), (("a", "h1", None, 1.0), ("b", "h2", None, -0.6)), "b", seed=23
)
MIXED = Readers(("p", "h", "q", "r"), (("a", "h", None, 0.8), ("b", "q", "r", 0.7)), seed=24)
LONG_MEMORY = Readers(MIXED.names, MIXED.shifts, vocab=3, order=2, seed=25)
DRAFTING = {"based": BASED, "two": TWO, "beside a pair": MIXED, "order 2": LONG_MEMORY}

WAYS: dict[str, dict[str, Any]] = {
    "plain": {"num_draft_tokens": 0},
    "block 3": {"num_draft_tokens": 3, "verification": "block"},
    "token 1": {"num_draft_tokens": 1, "verification": "token"},
    "token 4": {"num_draft_tokens": 4, "verification": "token"},
    "tree": {"num_draft_tokens": 3, "tree_width": 2},
    "wide tree": {"num_draft_tokens": 5, "tree_width": 3},
    "quotes": {"num_draft_tokens": 3, "prompt_lookup": True},
    "table": {"num_draft_tokens": 3},
}


def wishes_of(readers: Readers, **options: Any) -> list[Wish]:
    wish = Wish({"max_tokens": 4, **options}, prompt=text_of(12, readers.vocab, seed=1))
    table = random_table(readers.vocab, seed=1)
    ways = {name: dict(way) for name, way in WAYS.items()}
    ways["table"]["drafter"] = table
    return [wish.with_options(**way) for way in ways.values()]


@pytest.mark.parametrize("panel", DRAFTING)
def test_responses_follow_the_goal_however_they_are_drafted(panel: str) -> None:
    readers = DRAFTING[panel]
    wishes = wishes_of(readers)
    seen = observe(readers, wishes, N)
    found = p_values(readers, wishes, seen, N)
    assert min(found) > P_VALUE, dict(zip(WAYS, found, strict=True))
    drafted = dict(zip(WAYS, (s.drafted for s in seen), strict=True))
    assert drafted["plain"] == 0
    assert min(drafted[way] for way in WAYS if way != "plain") > 0


@pytest.mark.parametrize("strength", [-1.5, 0.0, 0.5, 2.0])
def test_a_head_alone_needs_no_second_model(strength: float) -> None:
    ways: list[dict[str, Any]] = [{}, {"prompt_lookup": True, "num_draft_tokens": 3}]
    prompt = text_of(12, ALONE.vocab, seed=2)
    wishes = [Wish({"max_tokens": 4, **way}, (strength,), prompt) for way in ways]
    assert min(p_values(ALONE, wishes, observe(ALONE, wishes, N), N)) > P_VALUE
    plain = ALONE.law(Wish({"max_tokens": 4}, (0.0,), prompt))
    assert (distance(ALONE.law(wishes[0]), plain) > 0.02) == (strength != 0)


def test_heads_draft_nothing_by_themselves() -> None:
    with pytest.raises(ValueError, match="num_draft_tokens needs a draft model"):
        submit(ALONE.decoder(), ALONE, Wish({"max_tokens": 4, "num_draft_tokens": 2}), 0)


def test_the_papers_rule_says_why_it_is_not_for_heads() -> None:
    with pytest.raises(ValueError, match="shift 'a' is a head: use rule 'exact'"):
        submit(ALONE.decoder(), ALONE, Wish({"max_tokens": 4, "rule": "paper"}), 0)


@pytest.mark.parametrize("way", ["plain", "block 3", "wide tree"])
def test_requests_of_different_strengths_share_a_batch(way: str) -> None:
    options = {"max_tokens": 3, **WAYS[way]}
    wishes = [
        Wish(options, strengths, (1, 2))
        for strengths in ((0.0, 0.0), (1.5, 0.0), (0.0, 1.5), (-1.0, 1.0), (1.0, 1.0))
    ]
    for readers in (TWO, MIXED):
        assert min(p_values(readers, wishes, observe(readers, wishes, N), N)) > P_VALUE


@pytest.mark.parametrize("options", [{"temperature": 0.5}, {"top_k": 2}, {"logit_bias": {1: 1.5}}])
def test_shapes_act_on_the_goal(options: dict[str, Any]) -> None:
    wishes = wishes_of(TWO, **options)
    assert min(p_values(TWO, wishes, observe(TWO, wishes, N), N)) > P_VALUE


@pytest.mark.parametrize("panel", DRAFTING)
def test_greedy_is_the_argmax(panel: str) -> None:
    readers = DRAFTING[panel]
    for wish, seen in zip(
        wishes := wishes_of(readers, temperature=0.0),
        observe(readers, wishes, 1),
        strict=True,
    ):
        assert list(seen.counts) == list(readers.law(wish)), wish


@pytest.mark.parametrize("way", ["plain", "token 4", "wide tree"])
def test_a_head_costs_no_evaluation(way: str) -> None:
    """The target is asked once a round, as without one, and reads nothing twice."""
    models = BASED.models()
    core = BASED.decoder(models)
    submit(core, BASED, Wish({"max_tokens": 8, **WAYS[way]}, (1.0,), (1, 2, 1)), 3)
    ((_, last),) = play(core).values()
    rounds, drafted = last.statistics.rounds, last.statistics.drafted
    assert (models["p"].evaluated_batches, models["h"].evaluated_batches) == (rounds, 0)
    assert models["p"].evaluated_tokens == rounds + drafted


@pytest.mark.parametrize("temperature", [0.7, 1.0])
def test_tokens_and_scores_tell_what_the_head_says(temperature: float) -> None:
    rng = np.random.default_rng(3)
    features = rng.normal(size=(5, 4)).astype(np.float32)
    logits = rng.normal(size=(5, 5)).astype(np.float32)
    target = TableModel(logits, order=1, features=features)
    head = Head.random(4, 5)
    with Decoder.from_models(
        target, shifts={"ours": _core.ShiftHeadModel(target, head.core())}
    ) as decoder:
        completion = decoder.generate(
            [1], max_tokens=6, seed=1, strength=1.5, temperature=temperature
        )
        history = (1, *completion.tokens)
        rows = head.rows(features)
        for before, step in zip(history, completion.steps, strict=False):
            z_p, z = logits[before], logits[before] + rows[before]
            ratio = np.log(oracle.goal(z) / oracle.goal(z_p))
            goal = oracle.goal(z_p + 1.5 * rows[before], temperature=temperature)
            assert step.shifts["ours"] == pytest.approx(ratio[step.id], abs=1e-5)
            assert step.logprob == pytest.approx(np.log(goal[step.id]), abs=1e-5)
            law, plain = (oracle.goal(z, temperature=temperature) for z in (z, z_p))
            log_z = np.log(np.sum(plain * (law / plain) ** 1.5))
            assert step.log_z == pytest.approx(log_z, abs=1e-5)
            assert step.draft_logprob is step.reference_logprob is None
            assert step.implicit_reward == step.shifts["ours"]
        score = decoder.score([1], completion.tokens)
        told = [step.shifts["ours"] for step in completion.steps]
        np.testing.assert_allclose(score.shifts["ours"], told, atol=1e-6)
        np.testing.assert_allclose(score.log_z, 0, atol=1e-6)  # it is a law at strength 1
        unasked = decoder.score([1], completion.tokens, strength=0)
        np.testing.assert_allclose(unasked.shifts["ours"], told, atol=1e-6)
        with pytest.raises(ValueError, match="only target"):
            decoder.alone("head")
        for own in (
            {"draft_prompt": [2]},
            {"reference_prompt": [2]},
            {"draft_prompt": {"ours": [2]}},
        ):
            with pytest.raises(ValueError, match="ours is a head, which reads what the target"):
                decoder.generate([1], **own)


def test_a_head_for_another_target_is_refused() -> None:
    target = TableModel(np.zeros((3, 3), "f4"), order=1, features=np.zeros((3, 2), "f4"))
    with pytest.raises(ValueError, match="features of 4 values, and this one's have 2"):
        _core.ShiftHeadModel(target, Head.random(4, 3).core())
    with pytest.raises(ValueError, match="a target of 5 tokens, and this one has 3"):
        _core.ShiftHeadModel(target, Head.random(2, 5).core())
