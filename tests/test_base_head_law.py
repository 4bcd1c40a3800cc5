"""Heads that draft: what they say, and that responses follow their goal whatever that is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rewardshift import Decoder, TableModel, _core
from tests.support.heads import BaseHead
from tests.support.panels import Readers, Wish, observe, p_values, play, submit, text_of

if TYPE_CHECKING:
    from collections.abc import Sequence

P_VALUE = 1e-9
N = 3000

ALONE = Readers(("p", "b"), base="b", base_is_head=True, seed=31)
PAIR = Readers(
    ("p", "q", "r", "b"), (("a", "q", "r", 0.8),), base="b", base_is_head=True, vocab=5, seed=32
)
HEADED = Readers(("p", "h", "b"), (("a", "h", None, -1.2),), base="b", base_is_head=True, seed=33)
LONG_MEMORY = Readers(PAIR.names, PAIR.shifts, "b", base_is_head=True, vocab=3, order=2, seed=34)
PANELS = {"alone": ALONE, "with a pair": PAIR, "with a head": HEADED, "order 2": LONG_MEMORY}

WAYS: dict[str, dict[str, Any]] = {
    "block 3": {"num_draft_tokens": 3, "verification": "block"},
    "token 1": {"num_draft_tokens": 1, "verification": "token"},
    "token 4": {"num_draft_tokens": 4, "verification": "token"},
    "tree": {"num_draft_tokens": 3, "tree_width": 2},
    "wide tree": {"num_draft_tokens": 5, "tree_width": 3},
    "quotes": {"num_draft_tokens": 3, "prompt_lookup": True},
}

VOCAB, WIDTH = 6, 5


def table_and_head(*, known: int = 4) -> tuple[TableModel, np.ndarray, BaseHead]:
    """A target whose features depend on the last token, and a head of it."""
    rng = np.random.default_rng(1)
    logits = rng.normal(size=(VOCAB, VOCAB)).astype(np.float32)
    features = rng.normal(size=(VOCAB, WIDTH)).astype(np.float32)
    head = BaseHead.random(WIDTH, VOCAB, known=known, seed=2)
    return TableModel(logits, order=1, features=features), features, head


Asked = tuple[int, list[int], int, int]
"""A sequence, a history, how many rows are wanted, and how many tokens are drafts."""


def asked(model: _core.LanguageModel, requests: Sequence[Asked]) -> np.ndarray:
    return model.drafted_logits([request[:3] for request in requests], [r[3] for r in requests])


def by_numpy(head: BaseHead, features: np.ndarray, requests: Sequence[Asked]) -> np.ndarray:
    rows = [np.zeros((0, VOCAB))]
    for _, tokens, n_rows, drafts in requests:
        told = {length: features[tokens[length - 1]] for length in range(1, len(tokens) + 1)}
        for end in range(len(tokens) - n_rows + 1, len(tokens) + 1):
            before = max(drafts - (len(tokens) - end), 0)
            rows.append(head.row(told, tokens[:end], before)[None])
    return np.concatenate(rows)


@pytest.mark.numeric
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_rows_are_a_function_of_the_history_and_its_drafts(data: st.DataObject) -> None:
    """Whatever the target was asked before, in whichever sequence, and whoever is beside."""
    target, features, head = table_and_head()
    model = _core.BaseHeadModel(target, head.core())

    def draw(sequence: int) -> Asked:
        tokens = data.draw(st.lists(st.integers(0, VOCAB - 1), min_size=1, max_size=7))
        n_rows = data.draw(st.integers(0, len(tokens)))
        return sequence, tokens, n_rows, data.draw(st.integers(0, len(tokens)))

    for _ in range(3):
        if data.draw(st.booleans()):
            target.logits([draw(data.draw(st.integers(0, 3)))[:3]])
        requests = [draw(sequence) for sequence in data.draw(st.sets(st.integers(0, 3)))]
        got = asked(model, requests)
        np.testing.assert_allclose(got, by_numpy(head, features, requests), rtol=0, atol=1e-5)


@pytest.mark.numeric
def test_what_another_sequence_told_may_be_asked_for_again() -> None:
    """The one is answered by what the other told, which is lost when the other is asked anew."""
    target, features, head = table_and_head()
    model = _core.BaseHeadModel(target, head.core())
    target.logits([(1, [1, 2, 3], 2)])
    requests: list[Asked] = [(0, [1, 2, 3, 5], 1, 1), (1, [4, 5], 1, 0)]
    got = asked(model, requests)
    np.testing.assert_allclose(got, by_numpy(head, features, requests), rtol=0, atol=1e-5)


@pytest.mark.statistical
@pytest.mark.parametrize("panel", PANELS)
def test_responses_follow_the_goal_however_they_are_drafted(panel: str) -> None:
    readers = PANELS[panel]
    wish = Wish({"max_tokens": 4}, prompt=text_of(12, readers.vocab, seed=1))
    wishes = [wish.with_options(**way) for way in WAYS.values()]
    seen = observe(readers, wishes, N)
    found = p_values(readers, wishes, seen, N)
    assert min(found) > P_VALUE, dict(zip(WAYS, found, strict=True))
    assert min(s.accepted for s in seen) > 0
    assert min(s.rejected for s in seen) > 0


@pytest.mark.parametrize("options", [{"temperature": 0.0}, {"top_k": 2}, {"logit_bias": {1: 1.5}}])
@pytest.mark.statistical
def test_shapes_act_on_the_goal(options: dict[str, Any]) -> None:
    wishes = [Wish({"max_tokens": 3, **options, **way}, prompt=(1, 2)) for way in WAYS.values()]
    seen = observe(PAIR, wishes, N)
    if options.get("temperature") == 0.0:
        assert all(list(s.counts) == list(PAIR.law(w)) for w, s in zip(wishes, seen, strict=True))
    else:
        assert min(p_values(PAIR, wishes, seen, N)) > P_VALUE


@pytest.mark.parametrize("way", ["block 3", "wide tree"])
def test_a_round_costs_one_evaluation_of_the_target(way: str) -> None:
    """The first one asks what the target's last state before the response was."""
    models = ALONE.models()
    core = ALONE.decoder(models)
    endless = {"max_tokens": 12, "logit_bias": {0: -100.0}}
    submit(core, ALONE, Wish({**endless, **WAYS[way]}, prompt=(1, 2, 1)), 3)
    ((_, last),) = play(core).values()
    statistics = last.statistics
    assert statistics.rounds > 2
    assert models["p"].evaluated_batches == statistics.rounds + 1
    assert models["p"].evaluated_tokens == statistics.rounds + statistics.drafted + 1


def test_a_head_that_knows_few_tokens_drafts_no_others() -> None:
    target, _, head = table_and_head(known=2)
    model = _core.BaseHeadModel(target, head.core())
    with Decoder.from_models(target, base=model) as decoder:
        completions = [
            decoder.generate([1, 2], max_tokens=12, num_draft_tokens=3, seed=seed)
            for seed in range(20)
        ]
    drafted = {s.id for c in completions for s in c.steps if s.origin == "draft"}
    said = {token for c in completions for token in c.tokens}
    assert drafted <= set(head.tokens.tolist())
    assert drafted
    assert len(said) == VOCAB


def test_what_the_target_cannot_read_fails_the_request_alone() -> None:
    _, features, head = table_and_head()
    logits = np.zeros((VOCAB, VOCAB), np.float32)
    failing = TableModel(logits, order=1, features=features, fails_on={4})
    core = _core.Decoder(
        [("p", failing), ("b", _core.BaseHeadModel(failing, head.core()))],
        [],
        1,
        _core.DecoderOptions(),
    )
    params = _core.RequestParams()
    params.max_tokens, params.num_draft_tokens, params.seed = 3, 2, 1
    params.logit_bias = [(4, -100.0)]
    requests = [core.submit([prompt], params) for prompt in ([1, 4, 2], [1, 2, 3])]
    ended = play(core)
    bad, good = (ended[request][1] for request in requests)
    assert bad.finish == "error"
    assert "fails on token 4" in bad.error
    assert good.finish == "length"


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"tokens": np.array([2, 1, 3, 4], np.int32)}, "tokens ascend"),
        ({"tokens": np.array([1, 2, 3, 9], np.int32)}, "are of the target's vocabulary"),
        ({"tokens": np.array([-1, 2, 3, 4], np.int32)}, "tokens ascend"),
        ({"tokens": np.array([1, 2], np.int32)}, "a column for each of its tokens"),
        ({"keep": np.ones(3, np.float32)}, "keep has 3 values, not 5"),
        ({"mix_bias": np.full(7, np.inf, np.float32)}, "mix.bias is not finite"),
    ],
)
def test_weights_that_make_no_head_are_refused(changed: dict[str, Any], said: str) -> None:
    _, _, head = table_and_head()
    with pytest.raises(ValueError, match=said):
        BaseHead(**{**vars(head), **changed}).core()


def test_a_head_of_another_target_is_refused() -> None:
    target, _, _ = table_and_head()
    with pytest.raises(ValueError, match="features of 4 values, and this one's have 5"):
        _core.BaseHeadModel(target, BaseHead.random(4, VOCAB).core())
    with pytest.raises(ValueError, match="a target of 9 tokens, and this one has 6"):
        _core.BaseHeadModel(target, BaseHead.random(WIDTH, 9).core())
