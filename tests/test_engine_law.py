"""The sampled law of whole responses is the enumerated one: the engine over small tables.

Every check is Pearson's chi-square with fixed seeds; at fewer than 60 checks with a threshold of
1e-9 each, a correct engine with other seeds fails this file with probability below 1e-6.
"""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from tests.support import enumerate_law as oracle
from tests.support.worlds import Ask, World, distance, observe, p_value

pytestmark = pytest.mark.statistical

P_VALUE = 1e-9

# --- pi*, whatever the draft length ---------------------------------------------------------------

LONG = World(vocab=3, order=2, seed=1)
LONG_LAW = LONG.law(Ask({"max_tokens": 10}))


@pytest.mark.parametrize("num_draft_tokens", range(9))
def test_exact_follows_the_goal_for_every_draft_length(num_draft_tokens):
    ask = Ask({"max_tokens": 10, "num_draft_tokens": num_draft_tokens})
    assert p_value(LONG.decoder(), ask, LONG_LAW, 12000) > P_VALUE


@pytest.mark.parametrize("num_draft_tokens", [1, 2, 3, 5])
def test_end_of_generation_inside_a_draft_ends_the_response(num_draft_tokens):
    world = World(vocab=6, order=1, eog=frozenset({0, 3, 5}), seed=2)
    ask = Ask({"max_tokens": 6, "num_draft_tokens": num_draft_tokens})
    law = world.law(ask)
    lengths = Counter()
    for response, mass in law.items():
        lengths[len(response)] += mass
    assert lengths[1] + lengths[2] > 0.4  # many end inside a draft
    assert p_value(world.decoder(), ask, law, 10000) > P_VALUE


def test_vocabulary_of_twelve():
    world = World(vocab=12, order=1, seed=3)
    ask = Ask({"max_tokens": 3, "num_draft_tokens": 2})
    assert p_value(world.decoder(), ask, world.law(ask), 20000) > P_VALUE


# --- many kinds of requests in one batch ----------------------------------------------------------

SHAPED = {
    "plain three-model": {"num_draft_tokens": 0},
    "default draft length": {},
    "strength 0": {"strength": 0.0, "num_draft_tokens": 2},
    "strength 0.5": {"strength": 0.5, "num_draft_tokens": 1},
    "strength 2": {"strength": 2.0, "num_draft_tokens": 3},
    "strength -1": {"strength": -1.0, "num_draft_tokens": 3},
    "cold": {"temperature": 0.6, "num_draft_tokens": 3},
    "hot": {"temperature": 1.6, "num_draft_tokens": 2},
    "top_k": {"top_k": 3, "num_draft_tokens": 3},
    "top_p": {"top_p": 0.8, "num_draft_tokens": 2},
    "min_p": {"min_p": 0.2, "num_draft_tokens": 3},
    "all cuts": {"top_k": 4, "top_p": 0.9, "min_p": 0.1, "temperature": 1.3},
    "strong, cold and cut": {"strength": 1.5, "temperature": 0.7, "top_p": 0.9},
}


def test_requests_of_different_shapes_in_one_batch_each_follow_their_own_goal():
    world = World(vocab=5, order=2, seed=4)
    asks = [
        Ask({"max_tokens": 3 + i % 2, **options}, prompt=(1 + i % 4, 1 + i % 3))
        for i, options in enumerate(SHAPED.values())
    ]
    n = 6000
    for name, ask, seen in zip(SHAPED, asks, observe(world.decoder(), asks, n), strict=True):
        assert oracle.chi_square(seen, world.law(ask), n) > P_VALUE, name


ADJUSTED = {
    "bias": {"logit_bias": {1: 1.0, 2: -2.0}},
    "ban": {"logit_bias": {3: -np.inf}},
    "repeat": {"repeat_penalty": 1.6},
    "frequency": {"frequency_penalty": 0.9},
    "presence": {"presence_penalty": 1.2},
    "window of two": {"presence_penalty": 1.5, "frequency_penalty": 0.5, "penalty_last_n": 2},
    "no window": {"repeat_penalty": 3.0, "penalty_last_n": 0},
    "everything": {
        "logit_bias": {2: 0.7},
        "repeat_penalty": 1.3,
        "frequency_penalty": -0.4,
        "presence_penalty": 0.6,
        "penalty_last_n": 3,
        "top_p": 0.95,
        "temperature": 0.8,
    },
}


def test_bias_and_penalties_act_on_the_goal():
    world = World(vocab=5, order=1, seed=5)
    asks = [
        Ask({"max_tokens": 4, "num_draft_tokens": 3, **options}, prompt=(1, 2, 2, 4))
        for options in ADJUSTED.values()
    ]
    n = 6000
    for name, ask, seen in zip(ADJUSTED, asks, observe(world.decoder(), asks, n), strict=True):
        assert oracle.chi_square(seen, world.law(ask), n) > P_VALUE, name


def test_shift_by_prompt_follows_each_roles_own_history():
    world = World(vocab=4, order=2, seed=6)
    options = {"max_tokens": 4, "num_draft_tokens": 2}
    asks = [
        Ask(options, prompt=(1, 2), draft_prompt=(3, 3)),
        Ask(options, prompt=(1, 2), draft_prompt=(2, 1, 3), reference_prompt=(1,)),
        Ask({**options, "num_draft_tokens": 0}, prompt=(1, 2), draft_prompt=(3, 3)),
        Ask({**options, "presence_penalty": 1.0}, prompt=(1, 2), draft_prompt=(3, 3)),
        Ask({**options, "rule": "speculative"}, prompt=(1, 2), draft_prompt=(3, 3)),
    ]
    laws = [world.law(ask) for ask in asks[:4]]
    laws.append(world.law(Ask({**options, "strength": 0.0}, prompt=(1, 2))))
    assert distance(laws[0], world.law(Ask(options, prompt=(1, 2)))) > 0.05
    n = 6000
    for seen, law in zip(observe(world.decoder(), asks, n), laws, strict=True):
        assert oracle.chi_square(seen, law, n) > P_VALUE


def test_tokens_that_any_role_forbids_do_not_appear():
    world = World(vocab=7, order=1, seed=7, masked=True)
    ask = Ask({"max_tokens": 3, "num_draft_tokens": 2}, prompt=(6,))
    law = world.law(ask)
    assert {t for response in law for t in response} == {0, 4, 5, 6}
    assert p_value(world.decoder(), ask, law, 10000) > P_VALUE


def test_ids_that_a_role_lacks_are_forbidden_in_every_role():
    world = World(vocab=4, order=2, seed=8, padding=(3, 0, 5))
    ask = Ask({"max_tokens": 4, "num_draft_tokens": 2}, prompt=(1, 3))
    assert p_value(world.decoder(), ask, world.law(ask), 10000) > P_VALUE


# --- the other rules and roles -----------------------------------------------------------------

PAPER = {
    "K=1": {"num_draft_tokens": 1},
    "K=2": {"num_draft_tokens": 2},
    "K=4": {"num_draft_tokens": 4},
    "strength 2": {"num_draft_tokens": 3, "strength": 2.0},
    "cold": {"num_draft_tokens": 3, "temperature": 0.7},
    "top_k": {"num_draft_tokens": 3, "top_k": 3},
}


def test_paper_follows_its_own_law_and_not_the_goal():
    world = World(vocab=5, order=1, seed=9, scale=1.5)
    asks = [Ask({"rule": "paper", "max_tokens": 5, **options}) for options in PAPER.values()]
    n = 7000
    for name, ask, seen in zip(PAPER, asks, observe(world.decoder(), asks, n), strict=True):
        law, goal = world.paper_law(ask), world.law(ask)
        assert distance(law, goal) > 0.03, name
        assert oracle.chi_square(seen, law, n) > P_VALUE, name
        assert oracle.chi_square(seen, goal, n) < P_VALUE, name


def test_paper_without_drafts_follows_the_goal():
    world = World(vocab=4, order=1, seed=10)
    ask = Ask({"rule": "paper", "max_tokens": 4, "num_draft_tokens": 0})
    assert p_value(world.decoder(), ask, world.law(ask), 8000) > P_VALUE


def test_speculative_follows_the_target():
    world = World(vocab=5, order=1, seed=11)
    options = {"max_tokens": 4, "rule": "speculative"}
    asks = [
        Ask({**options, "num_draft_tokens": 1}),
        Ask({**options, "num_draft_tokens": 3}),
        Ask({**options, "num_draft_tokens": 3, "temperature": 0.7, "top_p": 0.9}),
    ]
    n = 7000
    for ask, seen in zip(asks, observe(world.decoder(), asks, n), strict=True):
        target = world.law(Ask({**ask.options, "strength": 0.0}))
        assert oracle.chi_square(seen, target, n) > P_VALUE


@pytest.mark.parametrize(
    ("roles", "num_draft_tokens"), [("p", None), ("p", 0), ("pq", None), ("pq", 0), ("pq", 4)]
)
def test_without_a_reference_responses_follow_the_target(roles, num_draft_tokens):
    world = World(vocab=5, order=1, seed=12)
    options = {"max_tokens": 5, "num_draft_tokens": num_draft_tokens}
    law = world.law(Ask({"max_tokens": 5, "strength": 0.0}))
    assert p_value(world.decoder(roles), Ask(options), law, 8000) > P_VALUE
