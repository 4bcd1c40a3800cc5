"""Tables of n-grams, and what responses drafted from them must and must not depend on."""

from __future__ import annotations

import itertools
from collections import defaultdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rewardshift import Completion, Decoder, NgramTable, TableModel, _core
from tests.support import enumerate_law as oracle
from tests.support.precision import of_float_weights, of_normaliser
from tests.support.worlds import random_table

VOCAB, ORDER, EOG = 6, 2, 0
TREE = {"num_draft_tokens": 6, "tree_width": 3}
OPTIONS: tuple[dict, ...] = (
    {"temperature": 1.0},
    {"temperature": 0.7, "top_p": 0.9, "strength": 1.5},
    {"temperature": 0.0},
    {"presence_penalty": 0.5, "repeat_penalty": 1.2, "penalty_last_n": 3},
    {"rule": "speculative", "temperature": 0.9},
)


def tables(seed: int = 0, *, end: float = -2.0) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(VOCAB,) * (ORDER + 1)) + 0.8 * rng.normal(size=(3, *(VOCAB,) * 3))
    rows[..., EOG] = end
    return list(rows.astype(np.float32))


def decoder(rows: list[np.ndarray] | None = None, **facts) -> Decoder:
    facts = {"end_of_generation": {EOG}, "max_sequences": 9, **facts}
    return Decoder.from_models(
        *(TableModel(t.reshape(-1, VOCAB), order=ORDER, **facts) for t in rows or tables())
    )


def finish(d: Decoder) -> dict[int, Completion]:
    done = {}
    while d.has_work:
        done |= {chunk.id: chunk.completion for chunk in d.step() if chunk.completion is not None}
    return done


# --- the table ----------------------------------------------------------------------------------


class NaiveTable:
    """The same in a few lines: every sighting of every n-gram, as long as none has over 10."""

    def __init__(self) -> None:
        self.sightings: dict[tuple[int, ...], list[dict[int, float]]] = defaultdict(list)

    def add(self, history: list[int], law: dict[int, float]) -> None:
        for n in range(1, min(4, len(history)) + 1):
            self.sightings[tuple(history[-n:])].append(law)

    def after(self, history: list[int]) -> list[tuple[int, float]]:
        for n in range(min(4, len(history)), 0, -1):
            if laws := self.sightings.get(tuple(history[-n:])):
                tokens = set().union(*laws)
                mean = {t: sum(law.get(t, 0) for law in laws) / len(laws) for t in tokens}
                return sorted(mean.items(), key=lambda item: (-item[1], item[0]))
        return []


@st.composite
def sightings(draw) -> tuple[list[int], dict[int, float]]:
    history = draw(st.lists(st.integers(0, 3), max_size=7))
    eighths = st.integers(1, 8).map(lambda n: n / 8)  # sums of them do not round
    return history, draw(st.dictionaries(st.integers(0, 9), eighths, max_size=5))


@settings(derandomize=True, deadline=None, max_examples=200)
@given(st.lists(sightings(), max_size=25), st.lists(st.integers(0, 3), max_size=6))
def test_table_averages_what_followed_the_longest_ending(added, history):
    table, naive = NgramTable(), NaiveTable()
    for seen, law in added:
        table.add(seen, list(law.items()))
        naive.add(seen, law)
    assert table.after(history) == naive.after(history)
    assert len(table) == len(naive.sightings)


def test_table_keeps_the_ten_most_probable():
    table = NgramTable()
    table.add([1], [(t, t / 100) for t in range(1, 15)])
    assert [t for t, _ in table.after([1])] == list(range(14, 4, -1))
    table.add([1], [(3, 0.5)])
    assert [t for t, _ in table.after([7, 1])] == [3, *range(14, 5, -1)]


@pytest.mark.parametrize(
    ("history", "law"), [([-1], []), ([1], [(-1, 0.5)]), ([1], [(1, 0.0)]), ([1], [(1, np.nan)])]
)
def test_what_cannot_be_seen_is_refused(history, law):
    with pytest.raises(ValueError, match=r"not (-1|0|nan)"):
        NgramTable().add(history, law)


# --- what it drafts -------------------------------------------------------------------------------


def test_samples_of_one_prompt_draft_for_each_other():
    """The more a table has seen, the fewer rounds a response takes."""
    first, last = 0, 0
    for seed in range(10):
        d = decoder(tables(seed, end=-20))
        options = {"seed": seed, "max_tokens": 15, "temperature": 0.8, **TREE}
        batch = d.generate_batch([[1, 2]] * 20, drafter=NgramTable(), **options)
        rounds = [c.statistics.rounds for c in batch]
        first, last = first + sum(rounds[:2]), last + sum(rounds[-2:])  # two at a time
    assert last < 0.7 * first


def test_the_table_learns_what_was_emitted_and_the_goal_there():
    rows, table = tables(3), NgramTable()
    c = decoder(rows).generate([1, 2], seed=4, temperature=1.0, max_tokens=12, drafter=table)
    history, naive = [1, 2], NaiveTable()
    for token in c.tokens:
        law = oracle.goal(*(t[history[-2], history[-1]] for t in rows))
        naive.add(history, dict(enumerate(law)))
        history.append(token)
    for end in range(2, len(history)):
        seen, expected = table.after(history[:end]), naive.after(history[:end])
        assert [t for t, _ in seen] == [t for t, _ in expected]
        probs = np.array([p for _, p in expected])
        close = of_float_weights(probs).max()
        np.testing.assert_allclose([p for _, p in seen], probs, rtol=0, atol=close)


def test_a_table_may_know_tokens_that_the_models_do_not():
    table = NgramTable()
    for last in range(VOCAB):
        table.add([last], [(VOCAB, 0.6), (10**6, 0.3), (1, 0.1)])
    c = decoder(tables(end=-20)).generate([1], seed=0, max_tokens=20, drafter=table, **TREE)
    assert c.statistics.drafted > 0
    assert max(c.tokens) < VOCAB


@pytest.mark.parametrize("num_draft_tokens", [1, 4, 9])
def test_a_tree_of_the_draft_model_takes_no_more_turns_than_a_chain(num_draft_tokens):
    """Each node is asked about once; where the draft is the target, a whole path is accepted."""
    p = tables(2, end=-20)[0]
    models = [TableModel(p.reshape(-1, VOCAB), order=ORDER) for _ in range(2)]
    options = {"max_tokens": 40, "seed": 1, "num_draft_tokens": num_draft_tokens}
    c = Decoder.from_models(*models).generate([1, 2], tree_width=4, **options)
    s = c.statistics
    assert 40 <= s.accepted + s.rounds <= 41
    assert s.acceptance_by_position == (1.0,) * len(s.acceptance_by_position)
    assert models[1].evaluated_tokens <= s.drafted


@pytest.mark.parametrize("strength", [0.0, 1.0])
def test_temperature_zero_is_plain_greedy(strength):
    for seed in range(8):
        d = decoder(tables(seed))
        options = {"temperature": 0, "max_tokens": 25, "strength": strength}
        plain = d.generate([1, 2], num_draft_tokens=0, **options).tokens
        for drafter in (random_table(VOCAB, seed=seed), NgramTable(), None):
            for _ in range(2):
                tree = d.generate([1, 2], drafter=drafter, seed=0, **TREE, **options)
                assert tree.tokens == plain
        assert tree.statistics.rounds < len(plain)


@pytest.mark.parametrize("from_table", [True, False])
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_every_branch_is_scored_on_its_own_history(options, from_table):
    """Reported log-probabilities show which rows decided; penalties, which history."""
    rows = tables(5, end=-20)
    table = random_table(VOCAB, seed=1) if from_table else None
    c = decoder(rows).generate([1, 2], max_tokens=40, seed=2, drafter=table, **TREE, **options)
    plain = decoder(rows).score([1, 2], c.tokens, **{"temperature": 0.8, **options})
    lossless = options.get("rule") == "speculative"
    close = of_normaliser(VOCAB)
    assert [s.logprob for s in c.steps] == pytest.approx(plain.goal_logprobs, abs=close)
    assert [s.target_logprob for s in c.steps] == pytest.approx(plain.target_logprobs, abs=close)
    for name in ("draft_logprob", "reference_logprob"):
        reported = [getattr(step, name) for step in c.steps]
        expected = getattr(plain, name + "s")
        if lossless:  # the draft's is known where it drafted
            assert {*reported} == {None} or (name == "draft_logprob" and not from_table)
        else:
            assert reported == pytest.approx(expected, abs=close)
    assert {step.origin for step in c.steps} >= {"draft", "bonus"}
    assert {step.paper_distance for step in c.steps} == {None}


# --- what it does not depend on -----------------------------------------------------------------


def ask(i: int) -> dict:
    """A request with a table of its own, which no other one teaches, or without one."""
    options = {"max_tokens": 6 + i % 7, "seed": i, **OPTIONS[i % len(OPTIONS)]}
    shape = {"num_draft_tokens": 1 + i % 6, "tree_width": 1 + i % 4}
    if i % 3 == 2:
        return {**options, **shape}  # the draft model drafts
    return {**options, "drafter": random_table(VOCAB, seed=i), **shape}


@pytest.mark.parametrize("sequences", [5, 9, 60])
def test_responses_do_not_depend_on_their_neighbours(sequences):
    crowd = decoder(max_sequences=sequences)
    requests = [crowd.submit([1 + i % 5, 2], **ask(i)) for i in range(24)]
    done = finish(crowd)
    for i, request in enumerate(requests):
        assert done[request].steps == decoder().generate([1 + i % 5, 2], **ask(i)).steps


@pytest.mark.parametrize("steps", range(5))
def test_cancelling_a_tree_leaves_the_others_alone(steps):
    expected = [decoder().generate([1, 2], **ask(i)).tokens for i in range(6)]
    for victim in range(6):
        d = decoder(max_sequences=6)
        requests = [d.submit([1, 2], **ask(i)) for i in range(6)]
        chunks = list(itertools.chain.from_iterable(d.step() for _ in range(steps)))
        d.cancel(requests[victim])
        done = {chunk.id: chunk.completion for chunk in chunks if chunk.completion} | finish(d)
        for i, request in enumerate(requests):
            tokens = done[request].tokens
            assert tokens == expected[i] or (i == victim and tokens == expected[i][: len(tokens)])


def test_a_tree_that_cannot_be_evaluated_ends_only_its_own_request():
    rows = tables(5, end=-20)
    for table in rows:
        table[..., 5] = -np.inf  # nobody but the table says 5
    d = decoder(rows, fails_on={5})
    good = d.submit([1, 2], seed=1, max_tokens=12, drafter=random_table(5, seed=1), **TREE)
    bad_table = NgramTable()
    bad_table.add([2], [(5, 1.0)])
    bad = d.submit([1, 2], seed=1, max_tokens=12, drafter=bad_table, **TREE)
    chunks = list(itertools.chain.from_iterable(d.step() for _ in range(20)))
    assert [c.id for c in chunks if c.error] == [bad]
    (done,) = [c.completion for c in chunks if c.completion]
    alone = decoder(rows, fails_on={5}).generate(
        [1, 2], seed=1, max_tokens=12, drafter=random_table(5, seed=1), **TREE
    )
    assert not d.has_work
    assert good != bad
    assert done.steps == alone.steps


def test_same_seed_and_same_table_give_the_same_responses():
    def batch() -> list[tuple[int, ...]]:
        options = {"seed": 3, "max_tokens": 15, "drafter": NgramTable(), **TREE}
        return [c.tokens for c in decoder().generate_batch([[1, 2]] * 5, **options)]

    assert batch() == batch()


# --- limits and accounts ------------------------------------------------------------------------


def test_no_more_is_drafted_than_can_be_emitted():
    table = random_table(VOCAB, seed=2)
    d = decoder(tables(end=-20), context_size=14)
    for longest in range(12):
        c = d.generate([1], max_tokens=longest, seed=longest, drafter=table, **TREE)
        assert (len(c.tokens), c.finish_reason) == (longest, "length")
        assert c.statistics.drafted == 0 or longest > 1
    assert len(d.generate([1] * 4, max_tokens=None, seed=0, drafter=table, **TREE).tokens) == 10


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_statistics_count_nodes_and_decisions(options):
    for seed in range(10):
        table = random_table(VOCAB, seed=seed)
        c = decoder().generate([1, 2], seed=seed, max_tokens=20, drafter=table, **TREE, **options)
        s, origins = c.statistics, [step.origin for step in c.steps]
        assert s.accepted == origins.count("draft")
        assert s.accepted <= s.drafted <= s.rounds * 6
        ended_by_draft = origins[-1] == "draft"
        assert s.rounds == len(origins) - s.accepted + ended_by_draft
        assert all(0 <= share <= 1 for share in s.acceptance_by_position)


@pytest.mark.parametrize(
    ("options", "roles", "message"),
    [
        ({"tree_width": 0}, 3, "tree_width must be between 1 and 64, not 0"),
        ({"tree_width": 65}, 3, "tree_width must be between 1 and 64, not 65"),
        ({"tree_width": 2}, 1, "tree_width 2 needs a draft model, or a table as drafter"),
        ({"rule": "paper", "tree_width": 2}, 3, "rule 'paper' .* use rule 'exact'"),
        ({"tree_width": 9, "drafter": ...}, 3, "tree_width 9 .* have 8 .*n_seq_max"),
        ({"rule": "paper", "drafter": ...}, 3, "rule 'paper' .* use rule 'exact'"),
        ({"num_draft_tokens": 2}, 1, "needs a draft model, a table as drafter, or prompt_lookup"),
    ],
)
def test_wrong_options_say_what_to_do(options, roles, message):
    options = {k: NgramTable() if v is ... else v for k, v in options.items()}
    with pytest.raises(ValueError, match=message):
        decoder(tables()[:roles]).generate([1], **options)


def test_a_drafter_of_another_type_is_named():
    with pytest.raises(TypeError, match="drafter cannot be 'ngram'"):
        decoder().generate([1], drafter="ngram")


def test_a_shape_that_was_asked_for_stays_whatever_was_measured():
    roles = [TableModel(t.reshape(-1, VOCAB), order=ORDER) for t in tables(end=-20)]
    for n in (1, 3):
        readers = list(zip(("target", "draft", "reference"), roles[:n], strict=False))
        shifts = [_core.Shift("draft", 1, 2)] if n == 3 else []
        core = _core.Decoder(readers, shifts, None, _core.DecoderOptions())
        core.calibrate()
        params = _core.RequestParams()
        params.drafter, params.tree_width, params.num_draft_tokens = random_table(6, seed=1), 3, 5
        core.submit([[1, 2]], params)
        if n == 3:
            core.submit([[1, 2]], _core.RequestParams())
        while core.has_work:
            core.step()
        trees = [e for e in core.take_events() if e.id == 0]
        assert trees[-1].statistics.drafted > 4 * trees[-1].statistics.rounds / 2


@pytest.mark.parametrize("source", [{"drafter": NgramTable()}, {"prompt_lookup": True}], ids=list)
def test_costs_are_measured_once_before_a_table_may_draft_what_pays(files, source):
    """Only where nothing fixes how much; a decoder with a draft measures when it is loaded."""
    with Decoder(files.model().path, n_ctx=128, n_threads=1) as d:
        evaluated = []
        for options in ({"seed": 1}, {"num_draft_tokens": 2}, {}, {}):
            before = d.work["target"].tokens
            d.cancel(d.submit([5, 6], **{**source, **options}, max_tokens=4))
            evaluated.append(d.work["target"].tokens - before)
            d.step()
    assert evaluated[:2] == [0, 0]
    assert evaluated[2] > 0
    assert evaluated[3] == 0
