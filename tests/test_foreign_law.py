"""Shifts and bases of other vocabularies follow their law, by enumeration.

Readers are tables over vocabularies finer than the target's, coarser, crossing it and with no text
token in common. Every check is Pearson's chi-square with fixed seeds and a threshold of 1e-9; of
fewer than 200 checks a correct engine with other seeds fails one with probability below 1e-6.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from rewardshift import _core
from tests.support import enumerate_law as oracle
from tests.support.foreign_panels import ForeignReaders, log_softmax
from tests.support.panels import Listed, Wish, observe, p_values, play, submit, text_of
from tests.support.worlds import distance, random_table

pytestmark = pytest.mark.statistical

P_VALUE = 1e-9
N = 3000

FINER = (b"", b"a", b"b")
COARSER = (b"", b"a", b"b", b"ab", b"bb", b"aba")
CROSSING = (b"", b"b", b"a", b"ba", b"bb")
WORDS = (b"", b"a", b"b", b"ab")
NO_LETTERS = (b"", b"ab", b"ba", b"aab")
PAIR = (("a", "q", "r", 1.0),)


def pair(other: tuple[bytes, ...], words: tuple[bytes, ...] = WORDS, **more: Any) -> ForeignReaders:
    names = ("p", "q", "r")
    return ForeignReaders(
        names, PAIR, vocab=len(words), words=words, others={"q": other, "r": other}, **more
    )


MIXED = ForeignReaders(
    ("p", "q", "r", "d", "e"),
    (("a", "q", "r", 1.0), ("b", "d", "e", -0.7)),
    words=(b"", b"a", b"b", b"aba"),
    others={"d": COARSER, "e": COARSER},
    seed=5,
)
BASED = ForeignReaders(
    ("p", "q", "r", "b"),
    PAIR,
    "b",
    others={"q": FINER, "r": FINER, "b": CROSSING},
    seed=6,
)
PANELS = {
    "finer": pair(FINER, seed=1),
    "coarser": pair(COARSER, words=(b"", b"a", b"b", b"aba"), order=2, seed=2),
    "crossing": pair(CROSSING, seed=3, likely=1),
    "none in common": pair(FINER, words=NO_LETTERS, order=2, seed=4, likely=3),
    "first pieces only": pair(FINER, words=NO_LETTERS, seed=7, likely=0),
    "only what the target has half of": pair(FINER, words=NO_LETTERS, seed=4, likely=4, share=0.5),
    "beside a native one": MIXED,
    "with a base of a third vocabulary": BASED,
}

WAYS: dict[str, dict[str, Any]] = {
    "plain": {"num_draft_tokens": 0},
    **{
        f"{verification} {k}": {"num_draft_tokens": k, "verification": verification}
        for verification in ("block", "token")
        for k in (1, 2, 4)
    },
    "tree": {"num_draft_tokens": 3, "tree_width": 2},
    "wide tree": {"num_draft_tokens": 5, "tree_width": 3},
    "quotes": {"num_draft_tokens": 3, "prompt_lookup": True},
    "table": {"num_draft_tokens": 3, "drafter": "table"},
}


def in_all_ways(wish: Wish, table: _core.NgramTable) -> list[Wish]:
    ways = [
        {k: table if v == "table" else v for k, v in options.items()} for options in WAYS.values()
    ]
    return [wish.with_options(**way) for way in ways]


@pytest.mark.parametrize("panel", PANELS)
def test_responses_follow_the_goal_however_they_are_drafted(panel: str) -> None:
    readers = PANELS[panel]
    wish = Wish({"max_tokens": 4, "temperature": 0.8}, prompt=text_of(9, readers.vocab, seed=1))
    seen = observe(readers, in_all_ways(wish, random_table(readers.vocab, seed=1)), N)
    law = readers.law(wish)
    for name, found in zip(WAYS, seen, strict=True):
        assert oracle.chi_square(found.counts, law, N) > P_VALUE, name
    drafted = {name: found.drafted for name, found in zip(WAYS, seen, strict=True)}
    assert drafted["block 4"] > 0
    assert drafted["wide tree"] > 0


def test_the_law_is_another_where_fewer_tokens_are_refined() -> None:
    """Or the tests above could not tell whether any were."""
    wish = Wish({"max_tokens": 4}, prompt=(1, 2, 1))
    panels = [pair(FINER, words=NO_LETTERS, seed=4, likely=k) for k in (0, 1, 2, 4)]
    panels.append(pair(FINER, words=NO_LETTERS, seed=4, likely=4, share=0.5))
    laws = [readers.law(wish) for readers in panels]
    assert min(distance(a, b) for i, a in enumerate(laws) for b in laws[:i]) > 0.02


@pytest.mark.parametrize("share", [-0.1, 1.1, math.nan])
def test_a_least_share_is_one(share: float) -> None:
    with pytest.raises(ValueError, match="refined_share must be between 0 and 1"):
        PANELS["finer"].decoder(refined_share=share)


@pytest.mark.parametrize("strength", [-1.0, 0.5, 2.5])
@pytest.mark.parametrize("way", ["block 4", "token 2", "wide tree"])
def test_a_pair_of_any_strength_follows_its_goal(strength: float, way: str) -> None:
    readers = PANELS["coarser"]
    wish = Wish({"max_tokens": 4, **WAYS[way]}, (strength,))
    (seen,) = observe(readers, [wish], 2 * N)
    assert oracle.chi_square(seen.counts, readers.law(wish), 2 * N) > P_VALUE
    assert seen.drafted > 0


@pytest.mark.parametrize("way", ["plain", "block 4", "tree", "quotes"])
def test_requests_of_different_strengths_in_one_batch_each_follow_their_own_goal(way: str) -> None:
    options = {"max_tokens": 4, **WAYS[way]}
    several = [None, (0.0, 0.0), (1.5, 0.0), (0.0, 1.3), (-0.5, 0.5), (2.0, -2.0)]
    wishes = [Wish(options, strengths, (2, 1, 3, 2)) for strengths in several]
    laws = [MIXED.law(wish) for wish in wishes]
    assert min(distance(a, b) for i, a in enumerate(laws) for b in laws[:i]) > 0.02
    assert min(p_values(MIXED, wishes, observe(MIXED, wishes, N), N)) > P_VALUE


@pytest.mark.parametrize("way", ["block 4", "tree", "quotes"])
def test_a_grammar_masks_goal_and_drafts(way: str) -> None:
    readers = PANELS["finer"]
    sentences = [(1,), (1, 2), (3, 3), (2, 3, 1), (3, 1, 2, 2)]
    language = Listed(sentences, readers.vocab, frozenset({0}))
    wish = Wish({"max_tokens": 5, **WAYS[way]}, None, (1, 2, 1, 2), language=language)
    (seen,) = observe(readers, [wish], N)
    assert oracle.chi_square(seen.counts, readers.law(wish), N) > P_VALUE


@pytest.mark.parametrize("way", ["plain", "block 2", "tree"])
def test_every_reader_reads_its_own_prompt_in_its_own_tokens(way: str) -> None:
    readers = PANELS["crossing"]
    own = readers.vocab
    prompts = {"q": (own + 3, 1, own + 4), "r": (own + 1, 2, 3)}
    wishes = [
        Wish({"max_tokens": 4, **WAYS[way]}, prompt=(1, 3), prompts=prompts),
        Wish({"max_tokens": 4, **WAYS[way]}, prompt=(1, 3)),
    ]
    laws = [readers.law(wish) for wish in wishes]
    assert distance(*laws) > 0.02
    assert min(p_values(readers, wishes, observe(readers, wishes, N), N)) > P_VALUE


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("panel", ["coarser", "none in common", "beside a native one"])
def test_tokens_are_told_with_the_opinions_that_led_to_them(panel: str, way: str) -> None:
    """Whoever drafted: what is said of a token depends on the text before it alone."""
    readers = PANELS[panel]
    wish = Wish({"max_tokens": 8, "temperature": 0.7}, prompt=(1, 2, 1, 2))
    wish = in_all_ways(wish, random_table(4, seed=1))[list(WAYS).index(way)]
    core = readers.decoder()
    for seed in range(20):
        submit(core, readers, wish, seed)
    for tokens, last in play(core).values():
        assert last.finish in ("stop", "length"), last.error
        prefix: tuple[int, ...] = ()
        for token in tokens:
            for name, told in zip(readers.names, token.reader_logprobs, strict=True):
                said = readers.said(name, wish, prefix)
                said = said if name in readers.others else log_softmax(said)
                assert told == pytest.approx(said[token.id], abs=1e-5), name
            assert token.logprob == pytest.approx(
                math.log(readers.goal(wish, prefix)[token.id]), abs=1e-5
            )
            assert token.log_z == pytest.approx(readers.log_z(wish, prefix), abs=1e-5)
            p = np.exp(log_softmax(readers.said("p", wish, prefix)))
            for (_, draft, *_), told in zip(readers.shifts, token.twins, strict=True):
                if draft not in readers.others:
                    assert math.isnan(told)
                    continue
                twins = [readers.has_twin(draft, x) for x in range(readers.vocab)]
                assert told == pytest.approx(p[twins].sum(), abs=1e-6)
            prefix += (token.id,)


@pytest.mark.parametrize("panel", ["coarser", "none in common", "beside a native one"])
def test_scores_tell_the_same(panel: str) -> None:
    readers = PANELS[panel]
    params = _core.RequestParams()
    params.temperature = 0.9
    wish = Wish({"temperature": 0.9}, prompt=(1, 2))
    continuation = (2, 3, 1, 1, 2, 3, 3, 0)
    scores = readers.decoder().score(
        [list(wish.of(name)) for name in readers.names], list(continuation), params
    )
    for i, token in enumerate(continuation):
        prefix = continuation[:i]
        goal = readers.goal(wish, prefix)
        assert scores.goal[i] == pytest.approx(math.log(goal[token]), abs=1e-5)
        assert scores.log_z[i] == pytest.approx(readers.log_z(wish, prefix), abs=1e-5)
        for name, told in zip(readers.names, scores.readers, strict=True):
            said = readers.said(name, wish, prefix)
            said = said if name in readers.others else log_softmax(said)
            assert told[i] == pytest.approx(said[token], abs=1e-5), name


@pytest.mark.parametrize("way", ["plain", "block 2", "block 4", "token 4", "wide tree"])
@pytest.mark.parametrize("panel", ["coarser", "with a base of a third vocabulary"])
def test_neighbours_chunks_and_threads_change_no_text(panel: str, way: str) -> None:
    readers = PANELS[panel]
    wishes = [
        Wish({"max_tokens": 6, **WAYS[way]}, (s,), text_of(n, readers.vocab, seed=n))
        for s in (1.0, 0.0, -0.5)
        for n in (3, 11)
    ]

    def texts(*, together: bool, **options: Any) -> list[list[int]]:
        core = readers.decoder(**options)
        found = {}
        for seed, wish in enumerate(wishes * 5):
            request = submit(core, readers, wish, seed)
            found[request] = seed
            if not together:
                found[request] = [t.id for t in play(core)[request][0]]
        if together:
            ended = play(core)
            return [[t.id for t in ended[request][0]] for request in found]
        return list(found.values())

    alone = texts(together=False)
    assert texts(together=True) == alone
    assert texts(together=True, prefill_chunk=1, n_threads=2) == alone


def test_a_foreign_base_proposes_nothing_that_its_vocabulary_lacks() -> None:
    """Of `ab` it could only tell the first piece, for every such token again."""
    lossless = ForeignReaders(("p", "b"), (), "b", others={"b": FINER}, seed=8)
    wish = Wish({"max_tokens": 5, "num_draft_tokens": 3, "verification": "token"}, prompt=(1, 2))
    core = lossless.decoder()
    seeds = range(200)
    for seed in seeds:
        submit(core, lossless, wish, seed)
    origins = [(t.origin, t.id) for tokens, _ in play(core).values() for t in tokens]
    assert {token for origin, token in origins if origin == "draft"} == {0, 1, 2}
    assert ("correction", 3) in origins
    (seen,) = observe(lossless, [wish], N)
    assert oracle.chi_square(seen.counts, lossless.law(wish), N) > P_VALUE


def test_fewer_tokens_are_drafted_where_each_row_has_to_be_refined() -> None:
    """Batches cost the same whatever their rows, so that drafts are cheap but for refining. As good
    as no strength: drafts are accepted as often either way.
    """
    drafted = []
    for likely in (0, 4):
        readers = pair(FINER, words=NO_LETTERS, seed=4, likely=likely)
        core = readers.decoder(readers.models(batch_seconds=3e-4))
        core.calibrate()
        told = []
        for seed in range(8):
            submit(core, readers, Wish({"max_tokens": 100}, (1e-9,), (1, 2)), seed)
            told += [last.statistics for _, last in play(core).values()]
        drafted.append(sum(t.drafted for t in told) / sum(t.rounds for t in told))
    assert drafted[1] < 0.7 * drafted[0], drafted


def test_greedy_is_the_argmax_however_it_is_drafted() -> None:
    for readers in (PANELS["coarser"], PANELS["none in common"], MIXED):
        wishes = []
        for start in range(1, readers.vocab):
            wish = Wish({"max_tokens": 10, "temperature": 0.0}, prompt=(start, start))
            wishes += in_all_ways(wish, random_table(readers.vocab, seed=2))
        for wish, seen in zip(wishes, observe(readers, wishes, 1), strict=True):
            assert list(seen.counts) == list(readers.law(wish)), wish


def test_rule_paper_is_refused_where_the_draft_speaks_another_vocabulary() -> None:
    core = PANELS["finer"].decoder()
    wish = Wish({"rule": "paper"})
    with pytest.raises(ValueError, match=r"rule 'paper' .* 'a' has another: use rule 'exact'"):
        submit(core, PANELS["finer"], wish, 0)


def test_a_row_that_is_none_is_an_error_that_names_its_reader() -> None:
    readers = pair(FINER, seed=9)
    readers.tables["r"][1, 2] = np.nan
    core = readers.decoder()
    for seed in range(3):
        submit(core, readers, Wish({"max_tokens": 4}, prompt=(2, 1)), seed)
    for _, last in play(core).values():
        assert last.finish == "error"
        assert "the r's logits at position 2 are not a distribution" in last.error
