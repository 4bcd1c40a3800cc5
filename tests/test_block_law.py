"""Block verification through the engine: the law of whole responses, and how much it accepts.

A chain of drafts is decided on as a whole, so what one round drew must not be drawn again by the
next. Fixed seeds; at fewer than 60 checks with a threshold of 1e-9 each (or of seven standard
deviations) a correct engine with other seeds fails below 1e-6.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter

import numpy as np
import pytest

from tests.support import enumerate_law as oracle
from tests.support.panels import Listed, Readers, Seen, Wish, observe, p_values, text_of
from tests.support.worlds import random_table

pytestmark = pytest.mark.statistical

P_VALUE = 1e-9
SEVEN = 7.0
N = 6000

LONG = Readers(("p", "q", "r"), (("a", "q", "r", 1.0),), vocab=3, order=2, seed=1)
LONG_LAW = LONG.law(Wish({"max_tokens": 9}))
ENDING = Readers(
    ("p", "q", "r"), (("a", "q", "r", 1.0),), vocab=6, eog=frozenset({0, 3, 5}), seed=2
)


@pytest.mark.parametrize("num_draft_tokens", [1, 2, 3, 4, 7])
def test_responses_of_several_rounds_follow_the_goal(num_draft_tokens):
    wish = Wish({"max_tokens": 9, "num_draft_tokens": num_draft_tokens})
    (seen,) = observe(LONG, [wish], 2 * N)
    assert oracle.chi_square(seen.counts, LONG_LAW, 2 * N) > P_VALUE


@pytest.mark.parametrize("num_draft_tokens", [1, 2, 3, 4])
def test_responses_that_end_inside_a_block_follow_the_goal(num_draft_tokens):
    wish = Wish({"max_tokens": 6, "num_draft_tokens": num_draft_tokens})
    law = ENDING.law(wish)
    lengths = Counter()
    for response, mass in law.items():
        lengths[len(response)] += mass
    assert lengths[1] + lengths[2] > 0.4
    (seen,) = observe(ENDING, [wish], N)
    assert oracle.chi_square(seen.counts, law, N) > P_VALUE


def test_max_tokens_that_cut_blocks_leave_the_law_alone():
    wishes = [Wish({"max_tokens": most, "num_draft_tokens": 4}) for most in range(1, 8)]
    assert min(p_values(LONG, wishes, observe(LONG, wishes, N), N)) > P_VALUE


@pytest.mark.parametrize(
    "options",
    [
        {"temperature": 0.6},
        {"top_k": 2},
        {"top_p": 0.7},
        {"presence_penalty": 1.0, "repeat_penalty": 1.3},
        {"logit_bias": {2: -np.inf}},
        {"rule": "speculative"},
    ],
    ids=str,
)
def test_blocks_are_verified_against_the_goal_as_it_is_shaped(options):
    wish = Wish({"max_tokens": 6, "num_draft_tokens": 4, **options})
    (seen,) = observe(LONG, [wish], N)
    assert oracle.chi_square(seen.counts, LONG.law(wish), N) > P_VALUE


def test_rounds_of_every_kind_in_one_response_follow_the_goal():
    """Blocks where nothing can be quoted, and quotations, which are decided on one by one."""
    options = {"max_tokens": 8, "num_draft_tokens": 3, "prompt_lookup": True}
    wishes = [
        Wish({**options, "drafter": drafter}, prompt=prompt)
        for drafter in (None, random_table(3, seed=1))
        for prompt in ((1,), text_of(12, 3, seed=1))
    ]
    seen = observe(LONG, wishes, N)
    assert min(p_values(LONG, wishes, seen, N)) > P_VALUE
    assert seen[0].drafted_by["quote"] > 0 < seen[0].drafted_by["plain"]


# --- how much is accepted -------------------------------------------------------------------------

SHARP = Readers(
    ("p", "q", "r"), (("a", "q", "r", 1.0),), vocab=3, eog=frozenset(), seed=7, spread=2.5
)


def accepted_first(seen: Seen) -> list[int]:
    """Of each response: how many drafts of its first round were accepted."""
    return [
        len(list(itertools.takewhile(lambda origin: origin == "draft", origins)))
        for origins in seen.origins
    ]


@pytest.mark.parametrize("num_draft_tokens", [1, 2, 3, 4])
def test_a_block_is_accepted_as_far_as_the_paper_says_and_further_than_token_by_token(
    num_draft_tokens,
):
    n, prompt = 2 * N, (1,)
    wishes = [
        Wish(
            {
                "max_tokens": num_draft_tokens + 1,
                "num_draft_tokens": num_draft_tokens,
                "verification": verification,
            }
        )
        for verification in ("block", "token")
    ]

    def goal(prefix):
        return SHARP.goal(wishes[0], prefix)

    def proposal(prefix):
        return oracle.softmax(SHARP.row("q", prompt + prefix))

    expected = [
        oracle.block_law(goal, proposal, num_draft_tokens, SHARP.eog)[1],
        oracle.accepted_token_by_token(goal, proposal, num_draft_tokens, SHARP.eog),
    ]
    means = []
    for wish, seen, mean in zip(wishes, observe(SHARP, wishes, n), expected, strict=True):
        assert oracle.chi_square(seen.counts, SHARP.law(wish), n) > P_VALUE
        accepted = accepted_first(seen)
        means.append(float(np.mean(accepted)))
        error = float(np.std(accepted)) / math.sqrt(n)
        assert means[-1] == pytest.approx(mean, abs=SEVEN * error)
    if num_draft_tokens == 1:
        assert expected[0] == pytest.approx(expected[1])
    else:
        assert expected[0] > 1.1 * expected[1]
        assert means[0] > means[1]


def test_a_base_that_says_what_the_goal_says_is_accepted_whole():
    readers = Readers(("p", "b"), (), "b", order=2, seed=4)
    readers.tables["b"][:] = readers.tables["p"]
    wishes = [
        Wish({"max_tokens": 12, "num_draft_tokens": 4, "verification": verification})
        for verification in ("block", "token")
    ]
    for seen in observe(readers, wishes, 500):
        assert seen.rejected == 0
        assert seen.accepted > 0


# --- what lies behind a draft that the goal forbids -----------------------------------------------


def test_what_follows_an_impossible_draft_is_nobodys_concern():
    """After it nothing may follow at all, which must not end a response that never goes there."""
    readers = Readers(("p", "b"), (), "b", seed=5)
    p, b = readers.tables["p"], readers.tables["b"]
    p[:, 2] = -np.inf
    b[:] = 0
    b[:, 2] = 2
    both = Listed([(2, 2, 2, 2), (3, 1, 3, 3), (1, 3, 1, 1)], readers.vocab, readers.eog)
    for verification in ("token", "block"):
        options = {"max_tokens": 5, "num_draft_tokens": 3, "verification": verification}
        wish = Wish(options, language=both)
        (seen,) = observe(readers, [wish], 500)
        assert oracle.chi_square(seen.counts, readers.law(wish), 500) > P_VALUE
