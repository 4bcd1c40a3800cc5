"""Faults that other servers had, and what becomes of ours when something beneath it fails."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from rewardshift import OutOfMemoryError
from tests.support.exchange import Exchange, until
from tests.support.staged import staged

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from tests.conftest import Files


def run(scenario: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(scenario())


# --- a step that fails ----------------------------------------------------------------------------


@pytest.mark.parametrize("is_broken", [False, True])
def test_who_asks_while_a_step_fails_is_answered_or_told(files: Files, is_broken: bool) -> None:
    """Such a request is neither under way nor unheard of; it must not end the worker, later."""

    async def scenario() -> None:
        async with staged(files) as stage:
            running = stage.ask()
            await stage.at_gate()
            late = [stage.ask(), stage.ask(stream=True), stage.ask(n=2)]
            await until(lambda: stage.server.worker.under_way == 5)
            stage.decoder.forgetting = OutOfMemoryError("still none", 1) if is_broken else None
            stage.decoder.failure = OutOfMemoryError("no memory", 1)
            stage.decoder.open_gate()
            assert await running.status() == 503
            if is_broken:
                await until(lambda: len(stage.made) == 2)
                stage.decoder.open_gate()
            for exchange in late:
                await exchange.ended()
                body = await exchange.body()
                assert b'"error"' in body or b'"finish_reason"' in body
            await until(lambda: stage.server.worker.under_way == 0)
            await until(lambda: not stage.server.worker.decoder.has_work)
            assert stage.server.health == ("ok", "")
            assert await stage.ask().status() == 200

    run(scenario)


def test_a_step_that_fails_amid_others_news_needs_no_new_decoder(files: Files) -> None:
    """What one lane had to tell when another failed does not keep the decoder from going on."""

    async def scenario() -> None:
        async with staged(files) as stage:
            together = stage.ask(deterministic=False, stream=True)
            apart = stage.ask(seed=1)
            await stage.at_gate()
            await until(lambda: stage.server.worker.under_way == 2)
            await stage.take(2)
            stage.decoder.late_failure = OutOfMemoryError("no memory", 1)
            stage.decoder.open_gate()
            assert await apart.status() == 503
            assert b"out_of_memory" in await together.body()
            assert await stage.ask().status() == 200
            assert len(stage.made) == 1

    run(scenario)


# --- who leaves at an odd moment ------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/v1/completions", "/v1/chat/completions", "/v1/responses", "/completion"])
def test_who_leaves_before_a_stream_has_begun_frees_its_place(files: Files, path: str) -> None:
    async def scenario() -> None:
        async with staged(files) as stage:
            prompt = {"messages": [{"role": "user", "content": "ab"}], "input": "ab"}
            asked = {"prompt": "ab", "max_tokens": 400, "ignore_eos": True, "stream": True, **prompt}
            unread = Exchange(stage.app, path, asked, is_read=False)
            await stage.at_gate()
            await stage.take(2)
            unread.leave()
            await unread.ended()
            stage.decoder.open_gate()
            await until(lambda: stage.server.worker.under_way == 0)
            assert stage.decoder.work["target"].tokens < 60

    run(scenario)
