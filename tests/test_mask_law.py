"""pi* restricted to what may follow, token by token: masks in the engine, by enumeration.

Grammars are lists of responses, and tiny grammars of llguidance's. Fixed seeds; at fewer than 250
checks with a threshold of 1e-9 each a correct engine with other seeds fails below 1e-6.
"""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest

from rewardshift import NgramTable
from tests.support import enumerate_law as oracle
from tests.support.languages import Language, Tokens, language
from tests.support.panels import Listed, Readers, Wish, observe, p_values, play, submit, text_of
from tests.support.worlds import distance, random_table

pytestmark = pytest.mark.statistical

P_VALUE = 1e-9
N = 3000
VOCAB, EOG = 5, frozenset({0})

ONE = Readers(("p", "q", "r"), (("a", "q", "r", 1.0),), vocab=VOCAB, seed=1)
THREE = Readers(
    ("p", "q1", "q2", "r", "q3", "r3"),
    (("a", "q1", "r", 1.0), ("b", "q2", "r", -0.5), ("c", "q3", "r3", 0.7)),
    vocab=VOCAB,
    seed=2,
)
BASED = Readers((*THREE.names, "b"), THREE.shifts, "b", vocab=VOCAB, seed=3)
PANELS = {"one": ONE, "three": THREE, "a base beside three": BASED}

OPEN = Listed(
    [r for n in (1, 2, 3, 4) for r in itertools.product((1, 2, 3, 4), repeat=n) if sum(r) % 3],
    VOCAB,
    EOG,
)
"""Nearly everything, and of nearly every length."""
FORCED = Listed(
    [(1, 2, 3, 4), (1, 2, 3, 1), (2, 3, 3, 3, 3), (2, 3, 3, 4), (3, 4), (4,), (4, 4, 4, 1)],
    VOCAB,
    EOG,
)
"""Often a single token may follow."""
LANGUAGES = {"open": OPEN, "forced": FORCED}

WAYS: dict[str, dict[str, Any]] = {
    "plain": {"num_draft_tokens": 0},
    "block 1": {"num_draft_tokens": 1},
    "block 4": {"num_draft_tokens": 4},
    "token 3": {"num_draft_tokens": 3, "verification": "token"},
    "tree": {"num_draft_tokens": 3, "tree_width": 2},
    "wide tree": {"num_draft_tokens": 6, "tree_width": 4},
    "quotes": {"num_draft_tokens": 3, "prompt_lookup": True},
    "table": {"num_draft_tokens": 3, "drafter": "table"},
    "tree of the table": {"num_draft_tokens": 5, "drafter": "table", "tree_width": 3},
}


def in_all_ways(wish: Wish) -> list[Wish]:
    table = random_table(VOCAB, seed=1)
    ways = [{k: table if v == "table" else v for k, v in way.items()} for way in WAYS.values()]
    return [wish.with_options(**way) for way in ways]


@pytest.mark.parametrize("listed", LANGUAGES)
@pytest.mark.parametrize("panel", PANELS)
def test_responses_follow_the_goal_restricted_to_what_may_follow(panel, listed):
    readers, words = PANELS[panel], LANGUAGES[listed]
    prompt = text_of(11, VOCAB, seed=1)
    wish = Wish({"max_tokens": 6}, prompt=prompt, language=words)
    law = readers.law(wish)
    assert distance(law, readers.law(Wish({"max_tokens": 6}, prompt=prompt))) > 0.1
    for name, found in zip(WAYS, observe(readers, in_all_ways(wish), N), strict=True):
        assert oracle.chi_square(found.counts, law, N) > P_VALUE, name


SHAPED: dict[str, dict[str, Any]] = {
    "cold": {"temperature": 0.6},
    "cuts": {"top_k": 2, "top_p": 0.9},
    "cut short": {"max_tokens": 2},
    "bias": {"logit_bias": {1: 0.8, 2: -1.5}},
    "penalties": {"presence_penalty": 1.1, "repeat_penalty": 1.4},
    "the target alone": {"rule": "speculative"},
}


@pytest.mark.parametrize("way", ["block 4", "token 3", "tree", "quotes"])
def test_requests_with_other_grammars_and_without_share_batches(way):
    """Truncation is of what may follow: top_k counts no token that may not."""
    wishes = [
        Wish({"max_tokens": 5, **WAYS[way], **shape}, prompt=(2, 1, 2), language=words)
        for shape in SHAPED.values()
        for words in (OPEN, FORCED, None)
    ]
    found = p_values(THREE, wishes, observe(THREE, wishes, N), N)
    assert min(found) > P_VALUE, dict(zip(itertools.product(SHAPED, "of-"), found, strict=True))


def test_a_batch_of_several_strengths_under_a_grammar():
    all_strengths = [(0, 0, 0), (1.0, -1.0, 0), (2.5, 0, 0.5), (-0.7, 0.3, -1.0)]
    wishes = [
        Wish({"max_tokens": 5, **WAYS[way]}, strengths, (2, 1, 2), language=OPEN)
        for strengths in all_strengths
        for way in ("block 4", "tree", "quotes")
    ]
    assert min(p_values(BASED, wishes, observe(BASED, wishes, N), N)) > P_VALUE


@pytest.mark.parametrize("panel", PANELS)
def test_greedy_is_the_argmax_of_what_may_follow(panel):
    readers = PANELS[panel]
    wishes = []
    for start, words in itertools.product(range(1, VOCAB), (OPEN, FORCED)):
        wish = Wish({"max_tokens": 6, "temperature": 0.0}, None, (start, 1, start, 1), {}, words)
        wishes += in_all_ways(wish)
    for wish, seen in zip(wishes, observe(readers, wishes, 1), strict=True):
        assert list(seen.counts) == list(readers.law(wish)), wish


def test_threads_change_no_text():
    def texts(n_threads: int) -> list[list[tuple[int, ...]]]:
        wishes = [
            wish
            for words in (OPEN, FORCED)
            for wish in in_all_ways(Wish({"max_tokens": 6}, prompt=(2, 1, 2), language=words))
        ]
        core = THREE.decoder(n_threads=n_threads)
        return [sorted(found.counts.elements()) for found in observe(THREE, wishes, 40, core=core)]

    assert texts(1) == texts(3)


# --- proposals are masked too ---------------------------------------------------------------------


def test_no_draft_is_rejected_where_base_and_target_agree():
    """A draft that may not follow would have to be."""
    readers = Readers(("p", "b"), (), "b", vocab=VOCAB, order=2, seed=4)
    readers.tables["b"][:] = readers.tables["p"]
    ways = {name: way for name, way in WAYS.items() if "table" not in name and name != "quotes"}
    wishes = [Wish({"max_tokens": 6, **way}, prompt=(2, 1), language=OPEN) for way in ways.values()]
    for name, seen in zip(ways, observe(readers, wishes, 500), strict=True):
        assert seen.rejected == 0, name
        assert (seen.accepted > 100) == (name != "plain")


def misleading() -> NgramTable:
    table = NgramTable()
    for token in range(VOCAB):
        table.add([token], [(1, 0.5), (2, 0.5)])
    return table


def test_what_may_not_follow_is_not_drafted_from_tables_or_quoted():
    """Whose tables have not learnt yet what may follow."""
    threes = Listed([(3,), (3, 3), (3, 3, 3)], VOCAB, EOG)
    prompt = (1, 3, 2, 1, 3, 2, 1)
    drafted = np.zeros((2, 3), dtype=int)
    for seed in range(20):
        wishes = [
            Wish({"max_tokens": 3, "num_draft_tokens": 3, **way}, prompt=prompt, language=words)
            for words in (threes, None)
            for way in (
                {"drafter": misleading()},
                {"drafter": misleading(), "tree_width": 3},
                {"prompt_lookup": True},
            )
        ]
        seen = observe(Readers(("p",), vocab=VOCAB, seed=seed), wishes, 1)
        drafted += np.reshape([found.drafted for found in seen], (2, 3))
    assert list(drafted[0]) == [0, 0, 0]
    assert drafted[1].min() > 0


# --- what the grammar forces ----------------------------------------------------------------------


def test_forced_tokens_are_taken_and_nobody_is_asked():
    only = Listed([(2, 3, 1, 4)], VOCAB, EOG)
    models = THREE.models()
    core = THREE.decoder(models)
    request = submit(core, THREE, Wish({"max_tokens": 9}, language=only), 0)
    tokens, last = play(core)[request]
    assert [token.id for token in tokens] == [2, 3, 1, 4, 0]
    assert last.finish == "stop"
    for token in tokens:
        assert token.origin == "forced"
        assert token.logprob == 0
        assert all(map(math.isnan, [*token.reader_logprobs, token.log_z, token.target_entropy]))
    assert last.statistics.rounds == last.statistics.drafted == 0
    assert not any(model.evaluated_tokens for model in models.values())


@pytest.mark.parametrize("max_tokens", [1, 2, 3, 4])
def test_max_tokens_cut_what_is_forced(max_tokens):
    only = Listed([(2, 3, 1)], VOCAB, EOG)
    core = ONE.decoder()
    request = submit(core, ONE, Wish({"max_tokens": max_tokens}, language=only), 0)
    tokens, last = play(core)[request]
    assert [token.id for token in tokens] == [2, 3, 1, 0][:max_tokens]
    assert last.finish == ("stop" if max_tokens == 4 else "length")


@pytest.mark.parametrize("way", WAYS)
def test_a_round_begins_only_where_there_is_a_choice(way):
    (wish,) = [w for w, name in zip(in_all_ways(Wish({"max_tokens": 6}, prompt=(2, 1, 2, 1),
                                                     language=FORCED)), WAYS, strict=True)
               if name == way]  # fmt: skip
    core = ONE.decoder()
    for seed in range(200):
        submit(core, ONE, wish, seed)
    seen_forced = 0
    for tokens, _ in play(core).values():
        response = tuple(token.id for token in tokens)
        is_first = True  # of a round, or of none
        for i, token in enumerate(tokens):
            choices = len(FORCED.after(response[:i]))
            assert token.id in FORCED.after(response[:i])
            assert (token.origin == "forced") <= (choices == 1)
            if is_first:
                assert (token.origin == "forced") == (choices == 1)
            is_first = token.origin != "draft"
            seen_forced += token.origin == "forced"
    assert seen_forced > 20


def test_a_forced_token_that_logit_bias_forbids_is_an_error_not_a_token():
    core = ONE.decoder()
    wish = Wish({"max_tokens": 4, "logit_bias": {3: -np.inf}}, language=Listed([(2, 3)], 5, EOG))
    request = submit(core, ONE, wish, 0)
    tokens, last = play(core)[request]
    assert [token.id for token in tokens] == [2]
    assert last.finish == "error"
    assert "no token is possible" in last.error


# --- llguidance -----------------------------------------------------------------------------------

PIECES = (b"", b"a", b"b", b"ab", b"c")
"""Token 0 ends a response."""
TOKENS = Tokens(PIECES, EOG)
WORDS = {
    "choice": language("ab", "abc", "cab", "cc", "bba", choice=["ab", "abc", "cab", "cc", "bba"]),
    "regex": language(
        *(a + m + c for a in ("a", "ab") for m in ("", "b", "c") for c in ("a", "c", "cc")),
        regex="(a|ab)[bc]?(a|c|cc)",
    ),
    "lark": language(
        *("a" * n + m + "b" * n for n in range(4) for m in ("c", "cc")),
        grammar='start: "a" x "b" | x2\nx: "a" y "b" | x2\ny: "a" x2 "b" | x2\nx2: "c" "c"?',
    ),
}


class Written(Listed):
    """A language of texts, whose grammar is llguidance's."""

    def __init__(self, words: Language) -> None:
        self.words = words
        self.ends = EOG
        self.grammar = TOKENS.grammar(**words.options)

    def after(self, prefix: tuple[int, ...]) -> set[int]:
        return set(self.words.allowed(TOKENS, prefix))


@pytest.mark.parametrize("words", WORDS)
@pytest.mark.parametrize("panel", ["one", "a base beside three"])
def test_grammars_that_are_written_restrict_the_goal(panel, words):
    readers = PANELS[panel]
    prompt = text_of(11, VOCAB, seed=2)
    wish = Wish({"max_tokens": 7}, prompt=prompt, language=Written(WORDS[words]))
    law = readers.law(wish)
    for name, found in zip(WAYS, observe(readers, in_all_ways(wish), 1500), strict=True):
        assert oracle.chi_square(found.counts, law, 1500) > P_VALUE, name
