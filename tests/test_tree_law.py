"""The sampled law of whole responses is the enumerated one for drafts that are trees.

They come from the draft model, or from tables of n-grams that know nothing of the models: the law
must not depend on what they say. As in test_engine_law.py, at fewer than 60 checks a correct engine
fails below 1e-6.
"""

from __future__ import annotations

import numpy as np
import pytest

from rewardshift import Decoder, NgramTable, TableModel
from tests.support import enumerate_law as oracle
from tests.support.worlds import Ask, World, observe, p_value, random_table

pytestmark = pytest.mark.statistical

P_VALUE = 1e-9
N = 6000

LONG = World(vocab=3, order=2, seed=1)
LONG_ASK = Ask({"max_tokens": 8})
LONG_LAW = LONG.law(LONG_ASK)


def drafted(ask: Ask, table: NgramTable | None, **options) -> Ask:
    return Ask({**ask.options, "drafter": table, **options}, *ask.prompts)


@pytest.mark.parametrize("num_draft_tokens", [0, 1, 2, 4, 7])
@pytest.mark.parametrize("tree_width", [1, 2, 4])
def test_trees_follow_the_goal_whatever_their_shape(num_draft_tokens, tree_width):
    shape = {"num_draft_tokens": num_draft_tokens, "tree_width": tree_width}
    ask = drafted(LONG_ASK, random_table(LONG.vocab, seed=num_draft_tokens), **shape)
    assert p_value(LONG.decoder(), ask, LONG_LAW, N) > P_VALUE


@pytest.mark.parametrize(("num_draft_tokens", "tree_width"), [(1, 2), (3, 2), (5, 3), (7, 5)])
def test_trees_of_the_draft_model_follow_the_goal(num_draft_tokens, tree_width):
    shape = {"num_draft_tokens": num_draft_tokens, "tree_width": tree_width}
    ask = Ask({**LONG_ASK.options, **shape})
    assert p_value(LONG.decoder(), ask, LONG_LAW, N) > P_VALUE


def test_trees_of_a_table_that_has_only_what_it_saw_follow_the_goal():
    """The responses of all requests teach one table, from nothing."""
    table = NgramTable()
    ask = drafted(LONG_ASK, table, num_draft_tokens=6, tree_width=3)
    assert p_value(LONG.decoder(), ask, LONG_LAW, 2 * N) > P_VALUE
    assert len(table) > 20


@pytest.mark.parametrize(("roles", "from_table"), [("p", True), ("pq", True), ("pq", False)])
def test_trees_without_a_shift_follow_the_target(roles, from_table):
    world = World(vocab=5, order=1, seed=12)
    ask = Ask({"max_tokens": 5})
    law = world.law(Ask({"max_tokens": 5, "strength": 0.0}))
    table = random_table(world.vocab, seed=3) if from_table else None
    ask = drafted(ask, table, num_draft_tokens=4, tree_width=3)
    assert p_value(world.decoder(roles), ask, law, N) > P_VALUE


SHAPED = {
    "cold and strong": {"temperature": 0.6, "strength": 1.7},
    "all cuts": {"top_k": 4, "top_p": 0.9, "min_p": 0.1},
    "ban": {"logit_bias": {3: -np.inf, 1: 0.8}},
    "penalties": {"presence_penalty": 1.2, "repeat_penalty": 1.4, "frequency_penalty": 0.3},
    "window of two": {"presence_penalty": 1.5, "penalty_last_n": 2},
    "lossless": {"rule": "speculative"},
}


def test_requests_of_different_shapes_in_one_batch_each_follow_their_own_goal():
    """Each from the table and from the draft model, and among them chains."""
    world = World(vocab=5, order=2, seed=4, eog=frozenset({0, 3}))
    n, table, asks = N // 2, random_table(world.vocab, seed=4), []
    for i, options in enumerate(SHAPED.values()):
        ask = Ask({"max_tokens": 4, **options}, prompt=(1, 2, 4))
        asks.append(drafted(ask, table, num_draft_tokens=3, tree_width=1 + i % 3))
        asks.append(drafted(ask, None, num_draft_tokens=3, tree_width=3 - i % 3))
    for ask, counts in zip(asks, observe(world.decoder(), asks, n), strict=True):
        strength = {"strength": 0.0} if "rule" in ask.options else {}
        law = world.law(Ask({**ask.options, **strength}, *ask.prompts))
        assert oracle.chi_square(counts, law, n) > P_VALUE, ask


def test_shift_by_prompt_follows_each_roles_own_history():
    world = World(vocab=4, order=2, seed=6)
    ask = Ask({"max_tokens": 4}, (1, 2), (2, 1, 3), (1,))
    for table in (random_table(world.vocab, seed=5), None):
        tree = drafted(ask, table, num_draft_tokens=3, tree_width=3)
        assert p_value(world.decoder(), tree, world.law(ask), N) > P_VALUE


def test_draft_and_reference_of_one_model_follow_the_goal():
    """Their rows come in one batch, a branch of each in a sequence of its own."""
    world = World(vocab=4, order=2, seed=7)
    ask = Ask({"max_tokens": 4}, (1, 2), (3, 3), (1, 2))
    world.tables["r"] = world.tables["q"]
    target, small = (
        TableModel(
            world.tables[role].reshape(-1, world.vocab),
            order=2,
            end_of_generation=set(world.eog),
            max_sequences=80,
        )
        for role in "pq"
    )
    decoder = Decoder.from_models(target, small, small)
    trees = [
        drafted(ask, table, num_draft_tokens=3, tree_width=2)
        for table in (random_table(world.vocab, seed=6), None)
    ]
    chain = Ask({**ask.options, "num_draft_tokens": 2}, *ask.prompts)
    for counts in observe(decoder, [*trees, chain], N):
        assert oracle.chi_square(counts, world.law(ask), N) > P_VALUE
