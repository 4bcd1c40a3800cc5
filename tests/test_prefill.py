"""How prompts are read: in how many batches, how much a step, and what is read only once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from rewardshift import Decoder, TableModel, _core
from tests.support.engine import open_context, tokens_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tests.conftest import Files

CHUNK = 16


class Steps:
    """An engine of one model; how many tokens and batches each of its steps evaluates."""

    def __init__(self, context: _core.Context, **options: object) -> None:
        chosen = _core.DecoderOptions()
        for name, value in {"prefill_chunk": CHUNK, **options}.items():
            setattr(chosen, name, value)
        self._context = context
        self._core = _core.Decoder([("target", context)], [], None, chosen)

    def submit(self, prompt: Iterable[int], max_tokens: int = 1) -> int:
        """A request that does not end by itself."""
        params = _core.RequestParams()
        params.max_tokens, params.logit_bias = max_tokens, [(2, -50.0)]
        return self._core.submit([list(prompt)], params)

    def step(self) -> tuple[int, int, list[int]]:
        """Tokens and batches that it took, and whose tokens came."""
        tokens, batches = self._context.evaluated_tokens, self._context.evaluated_batches
        self._core.step()
        found = [event.id for event in self._core.take_events() if event.tokens]
        return (
            self._context.evaluated_tokens - tokens,
            self._context.evaluated_batches - batches,
            found,
        )

    def all(self) -> list[tuple[int, int, list[int]]]:
        """Until nothing is left to do."""
        steps = []
        while self._core.has_work:
            steps.append(self.step())
        return steps


def test_a_prompt_that_fits_is_read_by_its_first_round(files: Files) -> None:
    engine = Steps(open_context(files.model()))
    request = engine.submit(tokens_of(CHUNK), max_tokens=2)
    assert engine.all() == [(CHUNK, 1, [request]), (1, 1, [request])]


def test_a_prompt_may_be_read_in_batches_of_its_own(files: Files) -> None:
    engine = Steps(open_context(files.model()), prefills_whole=True)
    request = engine.submit(tokens_of(CHUNK))
    assert engine.all() == [(CHUNK, 2, [request])]


def test_of_a_long_prompt_the_round_reads_what_is_left(files: Files) -> None:
    engine = Steps(open_context(files.model()))
    request = engine.submit(tokens_of(2 * CHUNK + 5))
    assert engine.all() == [(CHUNK, 1, []), (CHUNK, 1, []), (5, 1, [request])]


def test_no_step_reads_more_than_a_chunk_and_the_rows_of_those_who_play(files: Files) -> None:
    random = np.random.default_rng(0)
    engine = Steps(open_context(files.model(), n_ctx=1000, n_seq_max=8))
    lengths = [int(length) for length in random.integers(1, 3 * CHUNK, 20)]
    for i, length in enumerate(lengths):
        engine.submit([3 + i % 9, *tokens_of(length, i)], max_tokens=1 + i % 4)
    steps = engine.all()
    for tokens, _, players in steps:
        assert tokens <= CHUNK + len(players)
    assert sum(len(players) for *_, players in steps) == sum(1 + i % 4 for i in range(20))
    assert max(tokens for tokens, *_ in steps) > CHUNK  # those who play do not wait for readers


def test_what_prompts_begin_alike_with_is_read_once_in_one_batch(files: Files) -> None:
    engine = Steps(open_context(files.model()), prefill_chunk=64)
    shared = tokens_of(40)
    requests = [engine.submit([*shared, 3 + i, 4]) for i in range(4)]
    assert engine.all() == [(40 + 4 * 2, 1, requests)]


def test_a_request_shares_the_beginning_of_what_the_last_one_left(files: Files) -> None:
    engine = Steps(open_context(files.model()))
    shared = tokens_of(5)
    first = [*shared, 3, *tokens_of(40, 1)]
    engine.submit(first)
    engine.all()
    engine.submit([*shared, 4, 5, 6], max_tokens=2)
    assert [tokens for tokens, *_ in engine.all()] == [3, 1]
    engine.submit([*first, 4])  # the other put it aside
    assert [tokens for tokens, *_ in engine.all()] == [1]


def test_with_a_cache_each_the_first_of_them_is_read_before_the_others(files: Files) -> None:
    engine = Steps(open_context(files.model(), n_ctx=1200, kv_unified=False), prefill_chunk=64)
    shared = tokens_of(40)
    requests = [engine.submit([*shared, 3 + i, 4]) for i in range(3)]
    (step,) = engine.all()
    assert step[0] == 40 + 3 * 2
    assert step[2] == requests


def test_what_memory_holds_takes_nothing_from_the_chunk(files: Files) -> None:
    engine = Steps(open_context(files.model()))
    prompt = tokens_of(10 * CHUNK)
    first = engine.submit(prompt)
    assert len(engine.all()) == 10
    again = engine.submit([*prompt[:-1], 3, 4, 5])
    assert again != first
    ((tokens, _, players),) = engine.all()
    assert (tokens, players) == (3, [again])


def test_a_drafter_reads_the_prompt_with_its_first_draft(files: Files) -> None:
    target, draft, _ = (open_context(model) for model in files.trio())
    with Decoder.from_models(target, draft) as decoder:
        options = {"rule": "speculative", "prompt_lookup": False, "logit_bias": {2: -1e9}}
        decoder.submit(tokens_of(30), num_draft_tokens=3, **options)
        decoder.step()
    assert (draft.evaluated_tokens, draft.evaluated_batches) == (30 + 2, 3)
    assert (target.evaluated_tokens, target.evaluated_batches) == (30 + 3, 1)


@pytest.mark.parametrize("whole", [True, False])
def test_a_prompt_that_cannot_be_read_ends_its_own_request_only(*, whole: bool) -> None:
    logits = np.zeros((6, 6), np.float32)
    table = TableModel(logits, order=1, end_of_generation=[5], fails_on=[4])
    options = _core.DecoderOptions()
    options.prefills_whole, options.prefill_chunk = whole, 4
    core = _core.Decoder([("target", table)], [], None, options)
    params = _core.RequestParams()
    params.max_tokens, params.logit_bias = 2, [(4, -np.inf), (5, -np.inf)]
    good = core.submit([[1, 2, 3]], params)
    bad = [core.submit([prompt], params) for prompt in ([1, 4, 3], [4, 1, 2, 3, 1, 2])]
    ends: dict[int, str] = {}
    while core.has_work:
        core.step()
        ends |= {e.id: e.finish for e in core.take_events() if e.finish is not None}
    assert ends == {good: "length", **dict.fromkeys(bad, "error")}
