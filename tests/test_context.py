"""A Context answers for any histories as if it had no cache, and evaluates only what is new."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rewardshift import Decoder, EvaluationError
from tests.support import numpy_forward, precision
from tests.support.engine import EXACT, open_context, rows, tokens_of
from tests.support.tiny_gguf import TinySpec, spm_vocab

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from rewardshift import _core
    from tests.conftest import Files
    from tests.support.engine import History
    from tests.support.tiny_gguf import TinyModel

pytestmark = pytest.mark.numeric

ARCHITECTURES = ("llama", "qwen2", "olmo2")
TOLERANCE = precision.of_logits(TinySpec())  # no model here is larger


def by_numpy(model: TinyModel, *histories: History) -> NDArray[np.float64]:
    wanted = [numpy_forward.logits(model, tokens)[len(tokens) - n :] for _, tokens, n in histories]
    return np.concatenate(wanted)


def check(context: _core.Context, model: TinyModel, *histories: History) -> None:
    np.testing.assert_allclose(
        rows(context, *histories), by_numpy(model, *histories), rtol=0, atol=TOLERANCE
    )


def newly_evaluated(context: _core.Context, *histories: History) -> int:
    before = context.evaluated_tokens
    rows(context, *histories)
    return context.evaluated_tokens - before


# --- what is answered --------------------------------------------------------------------------


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_rows_of_several_sequences_are_what_numpy_computes(files: Files, arch: str) -> None:
    model = files.model(arch=arch)
    check(
        open_context(model),
        model,
        (0, tokens_of(9, 1), 9),
        (2, tokens_of(1, 2), 1),
        (1, tokens_of(40, 3), 3),
    )


def test_rows_come_request_by_request_in_the_order_asked(files: Files) -> None:
    model, context = files.model(), open_context(files.model())
    a, b = (5, tokens_of(6, 1), 2), (1, tokens_of(8, 2), 3)
    np.testing.assert_array_equal(rows(context, a, b)[:2], rows(open_context(model), a, b)[:2])
    check(context, model, b, a)


@pytest.mark.parametrize("flash_attn", [False, True, None])
def test_default_cache_types_stay_close(files: Files, flash_attn: bool | None) -> None:
    model = files.model()
    context = open_context(model, type_k="f16", type_v="f16", flash_attn=flash_attn)
    history = (0, tokens_of(60), 60)
    np.testing.assert_allclose(
        rows(context, history),
        by_numpy(model, history),
        rtol=0,
        atol=precision.of_half_caches(model.spec),
    )


@pytest.mark.parametrize("n_batch", [1, 3, 8, 512])
@pytest.mark.parametrize("n_ubatch", [2, 512])
def test_chunk_size_does_not_matter(files: Files, n_batch: int, n_ubatch: int) -> None:
    model = files.model()
    context = open_context(model, n_batch=n_batch, n_ubatch=n_ubatch)
    check(context, model, (0, tokens_of(50, 1), 5), (1, tokens_of(23, 2), 23), (2, [1], 1))


@pytest.mark.parametrize("n_batch", [16, 64, 512])
def test_more_rows_than_one_batch_yields_are_all_right(files: Files, n_batch: int) -> None:
    model = files.model()
    context = open_context(model, n_batch=n_batch)
    check(context, model, (0, tokens_of(100, 1), 100), (1, tokens_of(90, 2), 70))


def test_no_rows_only_prepares_a_history(files: Files) -> None:
    model, context = files.model(), open_context(files.model())
    history = tokens_of(30)
    assert rows(context, (0, history[:29], 0)).shape == (0, model.spec.n_vocab)
    assert context.evaluated_tokens == 29
    assert newly_evaluated(context, (0, history, 1)) == 1
    check(context, model, (0, history, 1))


def test_no_histories_give_no_rows(files: Files) -> None:
    assert rows(open_context(files.model())).shape == (0, files.model().spec.n_vocab)


@pytest.mark.parametrize(
    "history",
    [(0, [1, 12], 1), (0, [-1], 1), (99, [1], 1), (-1, [1], 1), (0, [1], 2), (0, [1], -1)],
)
def test_impossible_requests_are_refused_before_anything_is_evaluated(
    files: Files, history: History
) -> None:
    context = open_context(files.model())
    with pytest.raises(ValueError, match=r"-?\d"):
        rows(context, (1, [1, 3], 1), history)
    assert context.evaluated_tokens == 0


# --- what is evaluated -------------------------------------------------------------------------


def test_a_longer_history_costs_only_its_new_tokens(files: Files) -> None:
    context, history = open_context(files.model()), tokens_of(50)
    assert newly_evaluated(context, (0, history[:40], 1)) == 40
    assert newly_evaluated(context, (0, history, 3)) == 10


def test_asking_again_costs_only_the_rows(files: Files) -> None:
    model, context, history = files.model(), open_context(files.model()), tokens_of(50)
    rows(context, (0, history, 1))
    assert newly_evaluated(context, (0, history, 1)) == 1
    assert newly_evaluated(context, (0, history, 5)) == 5
    check(context, model, (0, history, 5))


def test_a_rejected_draft_is_rolled_back(files: Files) -> None:
    model, context, history = files.model(), open_context(files.model()), tokens_of(30)
    rows(context, (0, [*history, 5, 6, 7], 4))
    corrected = [*history, 5, 8]
    assert newly_evaluated(context, (0, corrected, 1)) == 1
    check(context, model, (0, corrected, 2))


@pytest.mark.parametrize("kv_unified", [True, False])
def test_a_shared_prompt_is_evaluated_once(files: Files, kv_unified: bool) -> None:
    model, prompt = files.model(), tokens_of(40)
    context = open_context(model, kv_unified=kv_unified)
    rows(context, (0, prompt, 1))
    assert newly_evaluated(context, (1, [*prompt, 4], 1)) == 1
    check(context, model, (1, [*prompt, 4], 1))
    other_way = [*prompt[:20], 1, 6]
    assert newly_evaluated(context, (2, other_way, 1)) == 2
    check(context, model, (2, other_way, 2))


def test_sharers_of_a_prompt_diverge_without_disturbing_each_other(files: Files) -> None:
    model, context, prompt = files.model(), open_context(files.model()), tokens_of(40)
    rows(context, (0, [*prompt, 4, 5], 1))
    check(context, model, (1, [*prompt, 6, 7], 2), (2, [*prompt, 8], 1))
    rows(context, (0, tokens_of(10, 9), 1))  # the first sharer goes another way
    check(context, model, (1, [*prompt, 6, 7, 9], 1), (2, [*prompt, 8, 3], 2))


def tree_of(prompt: list[int]) -> list[History]:
    """Four branches of a draft: each asks for the rows that no earlier one has."""
    return [
        (0, [*prompt, 4, 5, 6], 4),
        (3, [*prompt, 4, 5, 7], 1),
        (1, [*prompt, 4, 8, 9], 2),
        (2, [*prompt, 10], 1),
    ]


@pytest.mark.parametrize("n_batch", [1, 2, 5, 512])
@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_what_histories_of_a_call_have_in_common_is_evaluated_once(
    files: Files, arch: str, n_batch: int
) -> None:
    model, prompt = files.model(arch=arch), tokens_of(20)
    context = open_context(model, n_batch=n_batch)
    rows(context, (0, prompt[:-1], 0))
    check(context, model, *tree_of(prompt))
    assert context.evaluated_tokens == 19 + 1 + 3 + 1 + 2 + 1
    assert newly_evaluated(context, *tree_of(prompt)) == 8
    taken = [*prompt, 4, 8]
    assert newly_evaluated(context, *tree_of(taken)) == 8  # its prompt is the second branch's
    check(context, model, *tree_of(taken))


def test_a_tree_in_caches_of_their_own_is_right_too(files: Files) -> None:
    model, prompt = files.model(), tokens_of(20)
    context = open_context(model, n_ctx=1000, n_seq_max=3, kv_unified=False)
    for length in (12, 14, 20):
        check(context, model, *tree_of(prompt[:length]))


def test_a_tree_takes_only_the_cells_of_its_nodes(files: Files) -> None:
    model, prompt, other = files.model(), tokens_of(100), tokens_of(50, 1)
    context = open_context(model, n_ctx=256)
    rows(context, (5, other, 1))
    check(context, model, *tree_of(prompt))
    assert newly_evaluated(context, (5, other, 1)) == 1  # it had not to give way


def test_forgetting_costs_time_but_no_truth(files: Files) -> None:
    model = files.model()
    context = open_context(model, n_ctx=256, n_seq_max=4)
    histories = [[3 + i, *tokens_of(59, i)] for i in range(5)]
    rows(context, (0, histories[0], 1))
    rows(context, *((i, histories[i], 1) for i in range(1, 4)))
    rows(context, (4, histories[4], 1))  # no cells are left: the first must go
    assert newly_evaluated(context, (0, histories[0], 1)) == 60
    check(context, model, (0, histories[0], 4))


def test_a_full_context_is_an_error_and_leaves_the_context_usable(files: Files) -> None:
    model, context = files.model(), open_context(files.model(), n_ctx=256)
    with pytest.raises(EvaluationError, match="context"):
        rows(context, (0, tokens_of(200, 1), 1), (1, tokens_of(200, 2), 1))
    check(context, model, (0, tokens_of(200, 1), 2))
    check(context, model, (1, tokens_of(200, 2), 2))


def test_caches_of_their_own_hold_equal_shares(files: Files) -> None:
    model = files.model()
    context = open_context(model, n_ctx=1000, n_seq_max=3, kv_unified=False)
    assert context.context_size == 256
    full = [(i, tokens_of(256, i), 1) for i in range(4)]
    assert newly_evaluated(context, *full) == 4 * 256
    assert newly_evaluated(context, full[0]) == 1  # none had to give way
    check(context, model, *full)
    with pytest.raises(EvaluationError, match="context"):
        rows(context, (0, tokens_of(257), 1))
    check(context, model, (0, tokens_of(200, 1), 2))


# --- any order of histories --------------------------------------------------------------------


Call = tuple[list[int], "list[History]"]
"""Sequences that are put aside, and what is then asked."""


@st.composite
def walks(draw: st.DrawFn) -> list[Call]:
    """Calls for up to three sequences, each history derived from an earlier one of any of them."""
    known: list[list[int]] = [tokens_of(12)]
    calls: list[Call] = []
    for _ in range(draw(st.integers(1, 7))):
        aside = draw(st.lists(st.integers(0, 3), max_size=2, unique=True))
        call: list[History] = []
        for sequence in draw(st.lists(st.integers(0, 3), min_size=1, max_size=3, unique=True)):
            base = draw(st.sampled_from(known))
            kept = base[: draw(st.integers(0, len(base)))]
            added = draw(st.lists(st.integers(3, 11), max_size=8))
            history = (kept + added or [1])[:40]
            known.append(history)
            call.append((sequence, history, draw(st.integers(0, min(4, len(history))))))
        calls.append((aside, call))
    return calls


def _walk(context: _core.Context, model: TinyModel, calls: Sequence[Call]) -> None:
    for aside, call in calls:
        context.put_aside(aside)
        got = rows(context, *call)
        wanted = [h for h in call if h[2] > 0]
        assert len(got) == sum(n for *_, n in wanted)
        if wanted:
            np.testing.assert_allclose(got, by_numpy(model, *wanted), rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("kv_unified", [True, False])
@pytest.mark.parametrize("arch", ["llama", "qwen2"])
@settings(max_examples=25, deadline=None, derandomize=True)
@given(calls=walks())
def test_any_walk_through_histories_is_answered_right(
    files: Files, arch: str, kv_unified: bool, calls: list[Call]
) -> None:
    model = files.model(arch=arch, n_embd=16, n_ff=16)
    _walk(open_context(model, n_seq_max=4, kv_unified=kv_unified), model, calls)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(calls=walks())
def test_any_walk_is_answered_right_when_cells_are_scarce(files: Files, calls: list[Call]) -> None:
    model = files.model(n_embd=16, n_ff=16)
    _walk(open_context(model, n_ctx=120, n_batch=5, n_seq_max=4), model, calls)


@pytest.mark.parametrize("kv_unified", [True, False])
@settings(max_examples=25, deadline=None, derandomize=True)
@given(calls=walks())
def test_any_walk_is_answered_right_with_a_sliding_window(
    files: Files, kv_unified: bool, calls: list[Call]
) -> None:
    model = files.model(arch="olmo2", n_embd=16, n_ff=16, sliding_window=6)
    _walk(open_context(model, n_seq_max=4, kv_unified=kv_unified), model, calls)


def test_a_sliding_window_can_be_rolled_back_far_beyond_itself(files: Files) -> None:
    model = files.model(arch="olmo2", sliding_window=8)
    context, history = open_context(model), tokens_of(100)
    rows(context, (0, history, 1))
    check(context, model, (0, [*history[:30], 7, 5], 3))
    check(context, model, (1, [*history[:20], 4], 2))


# --- NaN ---------------------------------------------------------------------------------------

NAN_TOKEN = 9
GREEDY = {"temperature": 0.0, "max_tokens": 6, "logit_bias": {NAN_TOKEN: -1e9, 2: -1e9}}


@pytest.mark.parametrize("flash_attn", [False, True])
@pytest.mark.parametrize("role", ["target", "draft", "reference"])
@pytest.mark.parametrize("k", [0, 2])
def test_a_request_that_makes_a_model_say_nan_fails_alone(
    files: Files, flash_attn: bool, role: str, k: int
) -> None:
    good, bad = files.model(), files.model(nan_embedding=NAN_TOKEN)
    prompts = [[3, 4, 5], [5, 4, NAN_TOKEN, 5], [4, 5, 3]]
    roles = ("target", "draft", "reference")
    options = {**EXACT, "flash_attn": flash_attn}
    with Decoder(*[good.path] * 3, **options) as decoder:
        wanted = [decoder.generate(prompts[i], **GREEDY).tokens for i in (0, 2)]
    with Decoder(*(bad.path if r == role else good.path for r in roles), **options) as decoder:
        ids = [decoder.submit(p, **GREEDY, num_draft_tokens=k) for p in prompts]
        last = {}
        while decoder.has_work:
            last |= {chunk.id: chunk for chunk in decoder.step() if chunk.is_last}
        first, failed, second = (last[i] for i in ids)
        assert failed.completion is None
        assert role in failed.error
        assert "position 4" in failed.error
        assert (first.error, second.error) == (None, None)
        assert [first.completion.tokens, second.completion.tokens] == wanted
        assert decoder.generate(prompts[0], **GREEDY).tokens == wanted[0]


@pytest.mark.parametrize("flash_attn", [False, True])
def test_a_failed_score_leaves_no_trace(files: Files, flash_attn: bool) -> None:
    bad = files.model(nan_embedding=NAN_TOKEN)
    with Decoder(bad.path, **{**EXACT, "flash_attn": flash_attn}) as decoder:
        wanted = decoder.generate([3, 4, 5], **GREEDY).tokens
        with pytest.raises(EvaluationError, match=r"target.*position 3"):
            decoder.score([3, 4, NAN_TOKEN], [3, 4])
        assert decoder.generate([3, 4, 5], **GREEDY).tokens == wanted
        assert decoder.generate([5, 4, 3], **GREEDY).finish_reason == "length"


def test_a_failed_request_leaves_the_scores_of_others_alone(files: Files) -> None:
    bad = files.model(nan_embedding=NAN_TOKEN)
    with Decoder(bad.path, **EXACT) as decoder:
        before = decoder.score([3, 4], [5, 3, 4]).target_logprobs
        with pytest.raises(EvaluationError):
            decoder.generate([4, NAN_TOKEN, 4], **GREEDY)
        after = decoder.score([3, 4], [5, 3, 4]).target_logprobs
    np.testing.assert_allclose(after, before, rtol=0, atol=precision.of_logprobs(bad.spec))


# --- nothing of this shows in what is generated ------------------------------------------------


def _greedy(decoder: Decoder, prompts: Sequence[Sequence[int]], k: int) -> list[tuple[int, ...]]:
    options = {"temperature": 0.0, "max_tokens": 20, "num_draft_tokens": k, "logit_bias": {2: -50}}
    return [c.tokens for c in decoder.generate_batch(prompts, **options)]


@pytest.mark.parametrize("k", [0, 3])
@pytest.mark.parametrize("n_batch", [1, 7, 512])
def test_generation_does_not_depend_on_chunk_size_or_reuse(
    files: Files, k: int, n_batch: int
) -> None:
    paths = [m.path for m in files.trio(vocab=spm_vocab(30), scale=3.0)]
    prompt = tokens_of(70)
    prompts = [prompt, prompt[:50], [*prompt, 8, 8], tokens_of(33, 5)]
    with Decoder(*paths, **{**EXACT, "n_ctx": 1024}) as fresh:
        wanted = _greedy(fresh, prompts, 0)
    with Decoder(*paths, **{**EXACT, "n_ctx": 1024}, n_batch=n_batch) as decoder:
        assert _greedy(decoder, prompts, k) == wanted
        assert _greedy(decoder, prompts, k) == wanted  # now all is in the cache
        assert [_greedy(decoder, [p], k)[0] for p in reversed(prompts)] == wanted[::-1]


@pytest.mark.parametrize("k", [0, 3])
def test_the_next_turn_of_a_conversation_costs_only_its_new_tokens(files: Files, k: int) -> None:
    contexts = [open_context(model, n_ctx=512) for model in files.trio()]
    prompt, turn = tokens_of(150), tokens_of(10, 2)
    options = {"max_tokens": 20, "temperature": 0.0, "logit_bias": {2: -50}, "num_draft_tokens": k}
    with Decoder.from_models(*contexts) as decoder:
        decoder.generate([1, *tokens_of(40, 7)], **options)
        answer = decoder.generate(prompt, **options)
        before = [context.evaluated_tokens for context in contexts]
        again = decoder.generate([*prompt, *answer.tokens, *turn], **options)
        spent = [c.evaluated_tokens - b for c, b in zip(contexts, before, strict=True)]
    new = len(turn) + 20 + 1  # the turn, its answer, and the last token of the old answer
    drafted = again.statistics.drafted + again.statistics.rounds
    assert max(spent) <= new + (drafted if k else 0)


@pytest.mark.parametrize("k", [0, 3])
def test_requests_that_were_under_way_together_all_go_on_cheaply(files: Files, k: int) -> None:
    contexts = [open_context(model, n_ctx=1024) for model in files.trio()]
    prompts = [[5 + i, *tokens_of(60, i)] for i in range(4)]
    options = {"max_tokens": 8, "temperature": 0.0, "logit_bias": {2: -50}, "num_draft_tokens": k}
    with Decoder.from_models(*contexts) as decoder:
        answers = decoder.generate_batch(prompts, **options)
        before = [context.evaluated_tokens for context in contexts]
        longer = [[*p, *a.tokens] for p, a in zip(prompts, answers, strict=True)]
        again = decoder.generate_batch(longer, **options)
        spent = [c.evaluated_tokens - b for c, b in zip(contexts, before, strict=True)]
    drafted = sum(a.statistics.drafted + a.statistics.rounds for a in again)
    assert max(spent) <= 4 * (8 + 1) + (drafted if k else 0)


@pytest.mark.parametrize("cache_ram", [0, 1])
def test_what_an_earlier_request_left_behind_leaves_the_cache(files: Files, cache_ram: int) -> None:
    """Every row attends over all cells: the last request's may be gone on with, older ones not."""
    context = open_context(files.trio()[0], n_ctx=1024, cache_ram=cache_ram)
    prompts = [[5 + i, *tokens_of(60, i)] for i in range(3)]
    options = {"max_tokens": 4, "temperature": 0.0, "logit_bias": {2: -50}}
    with Decoder.from_models(context) as decoder:

        def spent(prompt: list[int]) -> int:
            before = context.evaluated_tokens
            decoder.generate(prompt, **options)
            return context.evaluated_tokens - before

        for prompt in prompts:
            assert spent(prompt) >= len(prompt)
        assert spent(prompts[2]) < 10  # the latest
        assert (spent(prompts[0]) < 10) == (cache_ram > 0)


@pytest.mark.parametrize("k", [0, 3])
def test_a_sliding_window_does_not_show_in_batches_and_conversations(files: Files, k: int) -> None:
    """Long after its window is full, and when an earlier history is taken up again."""
    spec = {"arch": "olmo2", "sliding_window": 6, "vocab": spm_vocab(30), "scale": 3.0}
    paths = [m.path for m in files.trio(**spec)]
    prompts = [[3 + i, *tokens_of(20 + 7 * i, i)] for i in range(4)]
    wanted = []
    for prompt in prompts:
        with Decoder(*paths, **EXACT) as fresh:
            wanted += _greedy(fresh, [prompt], 0)
    with Decoder(*paths, **{**EXACT, "n_ctx": 512}) as decoder:
        assert _greedy(decoder, prompts, k) == wanted
        assert _greedy(decoder, prompts[::-1], k) == wanted[::-1]
        assert [_greedy(decoder, [p], k)[0] for p in prompts] == wanted
