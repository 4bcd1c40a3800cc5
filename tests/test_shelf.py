"""Histories that nobody goes on with are put aside: they cost others nothing, and are not lost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from rewardshift import Decoder
from tests.support import numpy_forward, precision
from tests.support.engine import EXACT, open_context, rows, tokens_of
from tests.support.tiny_gguf import TinySpec

if TYPE_CHECKING:
    from rewardshift import _core
    from tests.conftest import Files
    from tests.support.engine import History
    from tests.support.tiny_gguf import TinyModel

pytestmark = pytest.mark.numeric

TOLERANCE = precision.of_logits(TinySpec())
PLAIN: dict[str, Any] = {"logit_bias": {2: -50.0}, "prompt_lookup": False}


def newly_evaluated(context: _core.Context, model: TinyModel, history: History) -> int:
    before = context.evaluated_tokens
    got = rows(context, history)
    wanted = numpy_forward.logits(model, history[1])[-history[2] :]
    np.testing.assert_allclose(got, wanted, rtol=0, atol=TOLERANCE)
    return context.evaluated_tokens - before


@pytest.mark.parametrize("arch", ["llama", "qwen2", "olmo2"])
def test_what_was_put_aside_is_gone_on_with_by_any_sequence(files: Files, arch: str) -> None:
    model, history = files.model(arch=arch), tokens_of(40)
    context = open_context(model)
    assert newly_evaluated(context, model, (0, history, 1)) == 40
    context.put_aside([0])
    assert newly_evaluated(context, model, (0, tokens_of(30, 1), 1)) == 30
    assert newly_evaluated(context, model, (2, [*history, 5], 1)) == 1
    assert newly_evaluated(context, model, (1, [*history, 6, 7], 2)) == 2  # both go on with it


def test_it_leaves_its_cells_to_others(files: Files) -> None:
    model = files.model()
    context = open_context(model, n_ctx=256)
    first, second = tokens_of(200), tokens_of(200, 1)
    for sequence, history in enumerate((first, second)):
        assert newly_evaluated(context, model, (sequence, history, 1)) == 200
        context.put_aside([sequence])
    assert newly_evaluated(context, model, (0, [*first, 3], 1)) == 1
    context.put_aside([0])
    assert newly_evaluated(context, model, (1, [*second, 3], 1)) == 1


def test_of_a_history_that_goes_another_way_at_least_half_is_used(files: Files) -> None:
    model, history = files.model(), tokens_of(40)
    for kept, evaluated in ((20, 2), (19, 21)):
        context = open_context(model)
        rows(context, (0, history, 1))
        context.put_aside([0])
        other = [*history[:kept], 3 if history[kept] != 3 else 4, 4]
        assert newly_evaluated(context, model, (0, other, 1)) == evaluated


def test_a_history_of_a_few_tokens_is_not_worth_it(files: Files) -> None:
    model, context, history = files.model(), open_context(files.model()), tokens_of(5)
    rows(context, (0, history, 1))
    context.put_aside([0])
    assert newly_evaluated(context, model, (0, [*history, 4], 1)) == 1


@pytest.mark.parametrize("forgets", [True, False])
def test_what_is_forgotten_is_not_on_the_shelf_either(files: Files, *, forgets: bool) -> None:
    model, context, history = files.model(), open_context(files.model()), tokens_of(40)
    rows(context, (0, history, 1))
    context.put_aside([0])
    if forgets:
        context.forget()
    assert newly_evaluated(context, model, (0, [*history, 4], 1)) == (41 if forgets else 1)


def test_the_first_that_came_gives_way(files: Files) -> None:
    model = files.model(n_embd=64, n_layer=8, n_head=2, n_head_kv=2)
    context = open_context(model, n_ctx=2048, cache_ram=1)
    histories = [[3 + seed, *tokens_of(149, seed)] for seed in range(3)]  # 0.6 MiB each
    for history in histories:
        rows(context, (0, history, 1))
        context.put_aside([0])
    before = context.evaluated_tokens
    rows(context, (1, [*histories[2], 3], 1))
    assert context.evaluated_tokens - before == 1
    rows(context, (2, [*histories[0], 3], 1))
    assert context.evaluated_tokens - before == 1 + 151


@pytest.mark.parametrize("options", [{"cache_ram": 0}, {"kv_unified": False, "n_ctx": 1000}])
def test_where_nothing_is_put_aside_it_stays_where_it_is(
    files: Files, options: dict[str, Any]
) -> None:
    model, history = files.model(), tokens_of(40)
    context = open_context(model, n_seq_max=3, **options)
    rows(context, (0, history, 1))
    context.put_aside([0])
    assert newly_evaluated(context, model, (0, [*history, 5], 1)) == 1


@pytest.mark.parametrize("types", ["f16", "q8_0"])
def test_rows_are_to_the_last_bit_what_they_would_have_been(files: Files, types: str) -> None:
    options: dict[str, Any] = {"type_k": types, "type_v": types, "flash_attn": True}
    model = files.model(n_embd=64, n_head=2, n_head_kv=2, n_ff=64)
    history = tokens_of(40)
    seen = []
    for aside in (False, True):
        context = open_context(model, **options)
        rows(context, (0, history, 1))
        if aside:
            context.put_aside([0])
        seen.append(rows(context, (0, [*history, 5, 6], 2)))
    np.testing.assert_array_equal(*seen)


def test_three_conversations_in_turn_are_each_read_once(files: Files) -> None:
    with Decoder(files.model().path, **{**EXACT, "n_ctx": 300, "n_seq_max": 3}) as decoder:
        conversations = [tokens_of(60, seed) for seed in range(3)]
        for turn in range(3):
            for conversation in conversations:
                before = decoder.work["target"].tokens
                answer = decoder.generate(conversation, max_tokens=5, **PLAIN)
                conversation += [*answer.tokens, 3, 4]
                new = (60 if turn == 0 else 3) + 4
                assert decoder.work["target"].tokens - before == new
