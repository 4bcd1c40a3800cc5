"""The sampled law of whole responses is the enumerated one with one shift, with two and with three.

Readers are tables, whoever they are; ways to draft, strengths of any sign and requests of all kinds
share batches. Every check is Pearson's chi-square with fixed seeds and a threshold of 1e-9; of
fewer than 300 checks a correct engine with other seeds fails one with probability below 1e-6.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from rewardshift import TableModel, _core
from tests.support import enumerate_law as oracle
from tests.support.engine import open_context
from tests.support.panels import Readers, Wish, observe, p_values, play, submit, text_of
from tests.support.worlds import distance, random_table

pytestmark = pytest.mark.statistical

P_VALUE = 1e-9
N = 3000

ONE = Readers(("p", "q", "r"), (("a", "q", "r", 1.0),), seed=1)
SHARED = Readers(("p", "q1", "q2", "r"), (("a", "q1", "r", 1.0), ("b", "q2", "r", -0.5)), seed=2)
OWN = Readers(
    ("p", "q1", "r1", "q2", "r2"), (("a", "q1", "r1", 0.7), ("b", "q2", "r2", 0.9)), seed=3
)
THREE = Readers(
    ("p", "q1", "q2", "r", "q3", "r3"),
    (("a", "q1", "r", 1.0), ("b", "q2", "r", -0.5), ("c", "q3", "r3", 0.7)),
    seed=4,
)
BASED = Readers((*SHARED.names, "b"), SHARED.shifts, "b", seed=5)
LONG_MEMORY = Readers(SHARED.names, SHARED.shifts, vocab=3, order=2, seed=6)
PANELS = {
    "one": ONE,
    "two of one reference": SHARED,
    "two": OWN,
    "three": THREE,
    "a base beside two": BASED,
    "order 2": LONG_MEMORY,
}

WAYS: dict[str, dict[str, Any]] = {
    "plain": {"num_draft_tokens": 0},
    **{
        f"{verification} {k}": {"num_draft_tokens": k, "verification": verification}
        for verification in ("block", "token")
        for k in (1, 2, 3, 4)
    },
    "tree": {"num_draft_tokens": 3, "tree_width": 2},
    "wide tree": {"num_draft_tokens": 5, "tree_width": 3},
    "quotes": {"num_draft_tokens": 3, "prompt_lookup": True},
    "quotes of a length": {"prompt_lookup": True},
    "table": {"num_draft_tokens": 3, "drafter": "table"},
    "tree of the table, and quotes": {
        "num_draft_tokens": 4,
        "drafter": "table",
        "tree_width": 3,
        "prompt_lookup": True,
    },
}


def in_all_ways(wish: Wish, table: _core.NgramTable) -> list[Wish]:
    ways = [
        {k: table if v == "table" else v for k, v in options.items()} for options in WAYS.values()
    ]
    return [wish.with_options(**way) for way in ways]


@pytest.mark.parametrize("panel", PANELS)
def test_responses_follow_the_goal_however_they_are_drafted(panel):
    readers = PANELS[panel]
    wish = Wish({"max_tokens": 5}, prompt=text_of(12, readers.vocab, seed=1))
    wishes = in_all_ways(wish, random_table(readers.vocab, seed=1))
    seen = observe(readers, wishes, N)
    law = readers.law(wish)
    for name, found in zip(WAYS, seen, strict=True):
        assert oracle.chi_square(found.counts, law, N) > P_VALUE, name
    by = {name: found.drafted_by for name, found in zip(WAYS, seen, strict=True)}
    assert by["quotes"]["quote"] > 0
    assert by["table"]["table"] > 0
    assert by["block 3"]["quote"] == by["block 3"]["table"] == by["plain"].total() == 0
    assert by["block 3"]["plain" if panel == "one" else "shifted"] > 0


MIXED: dict[str, tuple[float, ...] | None] = {
    "the defaults": None,
    "none": (0.0, 0.0, 0.0),
    "only the first": (1.0, 0.0, 0.0),
    "only the last": (0.0, 0.0, 1.3),
    "opposite, of one reference": (1.0, -1.0, 0.0),
    "opposite, and another": (0.8, -0.8, 0.5),
    "all at once": (0.5, 0.7, 0.9),
    "against all": (-0.6, -0.4, -1.0),
    "strong": (2.5, 0.0, -2.0),
}


@pytest.mark.parametrize("way", ["plain", "block 3", "token 3", "wide tree", "quotes"])
@pytest.mark.parametrize(
    "readers", [THREE, Readers((*THREE.names, "b"), THREE.shifts, "b", seed=7)]
)
def test_requests_of_different_strengths_in_one_batch_each_follow_their_own_goal(readers, way):
    options = {"max_tokens": 4, **WAYS[way]}
    prompt = text_of(12, readers.vocab, seed=2)
    wishes = [Wish(options, strengths, prompt) for strengths in MIXED.values()]
    laws = [readers.law(wish) for wish in wishes]
    assert min(distance(a, b) for i, a in enumerate(laws) for b in laws[:i]) > 0.02
    seen = observe(readers, wishes, N)
    for name, law, found in zip(MIXED, laws, seen, strict=True):
        assert oracle.chi_square(found.counts, law, N) > P_VALUE, name


@pytest.mark.parametrize("strength", [-1.0, 0.5, 2.5])
@pytest.mark.parametrize("way", ["block 4", "token 4", "wide tree"])
def test_a_pair_of_any_strength_follows_its_goal(strength, way):
    """Up to twice its strength a draft proposes as it is; beyond, the reference, shifted."""
    wish = Wish({"max_tokens": 5, **WAYS[way]}, (strength,))
    (seen,) = observe(ONE, [wish], 2 * N)
    assert oracle.chi_square(seen.counts, ONE.law(wish), 2 * N) > P_VALUE
    assert seen.drafted_by["plain" if strength == 0.5 else "shifted"] == seen.drafted > 0


SHAPED: dict[str, dict[str, Any]] = {
    "cold": {"temperature": 0.6},
    "hot": {"temperature": 1.7},
    "cuts": {"top_k": 3, "top_p": 0.9, "min_p": 0.1},
    "bias": {"logit_bias": {1: 0.8, 2: -1.5}},
    "ban": {"logit_bias": {3: -np.inf}},
    "penalties": {"presence_penalty": 1.1, "repeat_penalty": 1.4, "penalty_last_n": 3},
    "the target alone": {"rule": "speculative"},
}


@pytest.mark.parametrize("way", ["block 3", "token 3", "tree"])
def test_shapes_act_on_the_goal_of_all_shifts(way):
    wishes = [
        Wish({"max_tokens": 4, **WAYS[way], **options}, prompt=(2, 1, 1))
        for options in SHAPED.values()
    ]
    found = p_values(THREE, wishes, observe(THREE, wishes, N), N)
    assert min(found) > P_VALUE, dict(zip(SHAPED, found, strict=True))


@pytest.mark.parametrize("way", ["plain", "block 3", "tree", "quotes"])
def test_every_reader_reads_its_own_prompt(way):
    """Also readers of one model: their rows come in one batch."""
    readers = Readers(
        ("p", "q1", "q2", "r", "b"),
        SHARED.shifts,
        "b",
        order=2,
        seed=8,
        of_one=(("q2", "q1"), ("r", "q1"), ("b", "q1")),
    )
    options = {"max_tokens": 3, **WAYS[way]}
    own = {"q1": (3, 3), "q2": (2, 1, 3), "r": (1,), "b": (2, 2)}
    prompt = (1, 2, 1, 2)
    wishes = [
        Wish(options, prompt=prompt, prompts=own),
        Wish(options, prompt=prompt, prompts={"q2": (3, 3)}),
        Wish(options, (1.0, 0.0), prompt, own),
        Wish(options, (-0.7, 1.2), prompt, own),
    ]
    law = readers.law(wishes[0])
    assert min(distance(law, readers.law(wish)) for wish in wishes[1:]) > 0.02
    assert min(p_values(readers, wishes, observe(readers, wishes, N), N)) > P_VALUE


def test_what_any_asked_reader_calls_impossible_does_not_appear():
    """Though its weight be zero: opposite strengths of one reference cancel it, not its veto."""
    readers = Readers(SHARED.names, SHARED.shifts, vocab=7, seed=9)
    for token, name in enumerate(readers.names, start=1):
        readers.tables[name][..., token] = -np.inf  # 1: p, 2: q1, 3: q2, 4: r
    options = {"max_tokens": 3, "num_draft_tokens": 2}
    possible = {
        (1.0, -1.0): {0, 5, 6},
        (1.0, 0.5): {0, 5, 6},
        (1.0, 0.0): {0, 3, 5, 6},
        (0.0, 1.0): {0, 2, 5, 6},
        (0.0, 0.0): {0, 2, 3, 4, 5, 6},
    }
    wishes = [
        Wish({**options, **way}, strengths, prompt=(6,))
        for strengths in possible
        for way in ({}, {"tree_width": 2}, {"num_draft_tokens": 0})
    ]
    seen = observe(readers, wishes, N)
    assert min(p_values(readers, wishes, seen, N)) > P_VALUE
    for wish, found in zip(wishes, seen, strict=True):
        assert wish.strengths is not None
        assert {t for response in found.counts for t in response} == possible[wish.strengths]


@pytest.mark.parametrize("panel", PANELS)
def test_greedy_is_the_argmax_of_all_readers_however_it_is_drafted(panel):
    readers = PANELS[panel]
    shifts = len(readers.shifts)
    wishes = []
    for start in range(1, readers.vocab):
        for strengths in (None, (0.0,) * shifts, (1.5, -1.0, 0.8)[:shifts]):
            wish = Wish({"max_tokens": 12, "temperature": 0.0}, strengths, (start, start))
            wishes += in_all_ways(wish, random_table(readers.vocab, seed=2))
    for wish, seen in zip(wishes, observe(readers, wishes, 1), strict=True):
        assert list(seen.counts) == list(readers.law(wish)), wish


def test_whatever_the_policy_chooses_follows_the_goal():
    """It weighs a base as it is, shifted, and quotations, by what they cost here and now."""
    readers = Readers((*ONE.names, "b"), ONE.shifts, "b", seed=10, spread=0.4)
    seconds = {"p": 2e-4, "q": 1e-5, "r": 1e-5, "b": 1e-5}
    core = readers.decoder(readers.models(batch_seconds=seconds))
    core.calibrate()
    wishes = [
        Wish({"max_tokens": 6}, strengths, text_of(20, readers.vocab, seed=4))
        for strengths in ((0.0,), (0.1,), (1.0,), (2.5,))
    ]
    n = N // 2
    seen = observe(readers, wishes, n, core=core)
    assert min(p_values(readers, wishes, seen, n)) > P_VALUE
    assert sum(found.accepted for found in seen) > 0


def test_threads_change_no_text():
    def texts(n_threads: int) -> list[list[tuple[int, ...]]]:
        core = THREE.decoder(n_threads=n_threads)
        wishes = in_all_ways(
            Wish({"max_tokens": 6}, prompt=text_of(9, 4, seed=3)), random_table(4, seed=3)
        )
        return [sorted(found.counts.elements()) for found in observe(THREE, wishes, 40, core=core)]

    assert texts(1) == texts(3)


# --- who is asked, and what is told of it ---------------------------------------------------------


@pytest.mark.parametrize("way", ["plain", "block 3", "tree", "quotes"])
def test_a_shift_of_strength_0_is_not_asked(way):
    models = THREE.models()
    core = THREE.decoder(models)
    asked = {"p", "q1", "r"}
    wish = Wish({"max_tokens": 8, **WAYS[way]}, (1.2, 0.0, 0.0))
    for seed in range(50):
        submit(core, THREE, wish, seed)
    for tokens, last in play(core).values():
        for token in tokens:
            known = [name for name, z in zip(THREE.names, token.reader_logprobs, strict=True)
                     if not math.isnan(z)]  # fmt: skip
            assert set(known) == asked
        spent = zip(THREE.names, last.statistics.reader_seconds, strict=True)
        assert all((seconds > 0) == (name in asked) for name, seconds in spent)
    for name, model in models.items():
        assert (model.evaluated_tokens > 0) == (name in asked), name


def test_where_nothing_shifts_only_who_drafts_is_asked_beside_the_target():
    models = BASED.models()
    core = BASED.decoder(models)
    submit(core, BASED, Wish({"max_tokens": 8, "num_draft_tokens": 3}, (0.0, 0.0)), 0)
    play(core)
    assert {name for name, model in models.items() if model.evaluated_tokens} == {"p", "b"}


def log_softmax(z: np.ndarray) -> np.ndarray:
    top = z.max()
    return z - top - math.log(np.exp(z - top).sum())


@pytest.mark.parametrize("way", ["plain", "block 3", "token 3", "tree", "quotes"])
def test_tokens_are_told_with_the_opinions_that_led_to_them(way):
    temperature = 0.7
    wish = Wish(
        {"max_tokens": 8, "temperature": temperature, **WAYS[way]},
        (1.0, -0.5, 0.8),
        (1, 2, 1, 2),
        {"q1": (3,), "r3": (2, 2)},
    )
    weights = THREE.weights(wish)
    core = THREE.decoder()
    for seed in range(30):
        submit(core, THREE, wish, seed)
    for tokens, _ in play(core).values():
        prefix: tuple[int, ...] = ()
        for token in tokens:
            rows = {name: THREE.row(name, wish.of(name) + prefix) for name in THREE.names}
            own = [log_softmax(rows[name])[token.id] for name in THREE.names]
            np.testing.assert_allclose(token.reader_logprobs, own, atol=1e-5)
            goal = THREE.goal(wish, prefix)
            assert token.logprob == pytest.approx(math.log(goal[token.id]), abs=1e-5)
            tempered = {n: log_softmax(row / temperature) for n, row in rows.items()}
            z = math.log(np.exp(sum(w * tempered[n] for n, w in weights.items())).sum())
            assert token.log_z == pytest.approx(z, abs=1e-5)
            prefix += (token.id,)


def test_scores_tell_all_readers_apart():
    params = _core.RequestParams()
    params.temperature = 1.0
    params.strengths = [1.0, -0.5, 0.8]
    wish = Wish({}, (1.0, -0.5, 0.8), (1, 2), {"q2": (3, 1), "r": (2,)})
    continuation = (2, 3, 1, 1, 2, 0)
    scores = THREE.decoder().score(
        [list(wish.of(name)) for name in THREE.names], list(continuation), params
    )
    for i, token in enumerate(continuation):
        prefix = continuation[:i]
        assert scores.goal[i] == pytest.approx(math.log(THREE.goal(wish, prefix)[token]), abs=1e-5)
        for name, told in zip(THREE.names, scores.readers, strict=True):
            own = log_softmax(THREE.row(name, wish.of(name) + prefix))[token]
            assert told[i] == pytest.approx(own, abs=1e-5)


def test_a_batch_that_fails_is_played_again_with_the_same_quotations():
    """What is quoted lies in a history that the first attempt moves: others take its memory."""
    vocab, last = 40, 39
    readers = Readers(("p",), vocab=vocab, seed=11, spread=0.1)
    options = {"max_tokens": 24, "num_draft_tokens": 8, "prompt_lookup": True}
    wishes = [
        Wish({**options, "logit_bias": {last: -np.inf}}, prompt=text_of(n, last, seed=n + i))
        for i in range(12)
        for n in (64, 32)
    ]

    def responses(*beside: Wish) -> list[list[int]]:
        model = TableModel(
            readers.tables["p"], order=1, fails_on={last}, max_sequences=65, context_size=10**6
        )
        core = readers.decoder({"p": model})
        requests = [submit(core, readers, wish, seed) for seed, wish in enumerate(wishes)]
        failing = [submit(core, readers, wish, 0) for wish in beside]
        ended = play(core)
        assert all(ended[request][1].finish == "error" for request in failing)
        assert all(ended[request][1].finish != "error" for request in requests)
        return [[token.id for token in ended[request][0]] for request in requests]

    assert responses(Wish(options, prompt=(1, last))) == responses()


@pytest.mark.parametrize("way", ["block 2", "token 3", "tree"])
def test_readers_of_one_context_say_what_each_would_say_alone(files, way):
    """The rows of one are kept where the other is asked again, which overwrites them."""
    target, small = files.model(), files.model(noise=0.35, noise_seed=1)

    def responses(*, is_shared: bool) -> list[tuple[int, ...]]:
        draft = open_context(small, n_seq_max=16)
        reference = draft if is_shared else open_context(small, n_seq_max=16)
        readers = [("p", open_context(target, n_seq_max=16)), ("q", draft), ("r", reference)]
        core = _core.Decoder(readers, [_core.Shift("a", 1, 2)], None, _core.DecoderOptions())
        own = {"q": (5, 3), "r": (2, 2, 7)}
        for seed in range(24):
            wish = Wish({"max_tokens": 10, **WAYS[way]}, prompt=(4, 3), prompts=own)
            submit(core, ONE, wish, seed)
        ended = play(core)
        return [tuple(token.id for token in ended[i][0]) for i in sorted(ended)]

    shared = responses(is_shared=True)
    assert shared == responses(is_shared=False)
    assert len(set(shared)) > 12


def test_a_strength_whose_z_is_beyond_all_numbers_is_an_error_where_z_decides():
    core = ONE.decoder()
    options = {"max_tokens": 4, "num_draft_tokens": 2}
    submit(core, ONE, Wish({**options, "rule": "paper"}, (-1.5e308,)), 0)
    submit(core, ONE, Wish({**options, "rule": "paper"}, (2.5,)), 0)
    huge, usual = (last.finish == "error" for _, (_, last) in sorted(play(core).items()))
    assert huge
    assert not usual
