"""Faults that other servers had, and what becomes of ours when something beneath it fails."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

import pytest

from rewardshift import OutOfMemoryError
from tests.support.exchange import Exchange, until
from tests.support.mutate_body import ENDPOINTS
from tests.support.served import serving, serving_of
from tests.support.staged import staged
from tests.support.tool_models import shifted_decoder

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator
    from pathlib import Path

    from starlette.testclient import TestClient

    from rewardshift import Decoder
    from tests.conftest import Files

COMPLETIONS = "/v1/completions"
MODELS = {endpoint.path: endpoint.model for endpoint in ENDPOINTS}
POSTS = list(MODELS)
DECODING = ("/v1/chat/completions", COMPLETIONS, "/v1/responses", "/completion")
ANY = {"prompt": "ab", "messages": [{"role": "user", "content": "ab"}], "input": "ab"}
"""What all of them answer."""


@pytest.fixture(scope="module")
def client(files: Files) -> Iterator[TestClient]:
    with serving(files) as opened:
        yield opened


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


@pytest.mark.parametrize("path", DECODING)
def test_who_leaves_before_a_stream_has_begun_frees_its_place(files: Files, path: str) -> None:
    async def scenario() -> None:
        async with staged(files) as stage:
            asked = {**ANY, "max_tokens": 400, "ignore_eos": True, "stream": True}
            unread = Exchange(stage.app, path, asked, is_read=False)
            await stage.at_gate()
            await stage.take(2)
            unread.leave()
            await unread.ended()
            stage.decoder.open_gate()
            await until(lambda: stage.server.worker.under_way == 0)
            assert stage.decoder.work["target"].tokens < 60

    run(scenario)


# --- what a request can ask for -------------------------------------------------------------------


@pytest.mark.parametrize("fields", [{"strength": 1e308}, {"repeat_penalty": 1e-320}])
def test_numbers_that_leave_no_token_are_the_requests_fault(
    client: TestClient, fields: dict[str, float]
) -> None:
    answer = client.post(COMPLETIONS, json={"prompt": "ab ab", "max_tokens": 4, **fields})
    assert answer.status_code == 400, answer.text
    assert answer.json()["error"]["code"] == "nothing_possible"


def test_a_top_p_of_next_to_nothing_leaves_one_token(tmp_path: Path) -> None:
    """Its mass is rounded to nothing, which no search for it must wait for."""
    asked: dict[str, Any] = {"prompt": "ab", "max_tokens": 8, "deterministic": False}
    with serving_of(lambda: shifted_decoder(tmp_path)) as client:
        for top_p in (1e-308, 1e-320, 5e-324):
            for form in ({}, {"choice": ["ab", "cd"]}, {"json_schema": {"type": "object"}}):
                answer = client.post(COMPLETIONS, json={**asked, "top_p": top_p, **form})
                assert answer.status_code == 200


def test_halves_of_pairs_are_repeated_as_they_came(files: Files, client: TestClient) -> None:
    asked = b'{"input": "ab", "max_output_tokens": 1, "user": "a\\udfffb"}'
    answer = client.post("/v1/responses", content=asked)
    assert answer.status_code == 200, answer.text
    assert answer.json()["user"] == "a\udfffb"
    with serving(files, strict=True) as strict:
        refused = strict.post("/tokenize", content=b'{"content": "a", "\\ud800": 1}')
        assert refused.status_code == 400
        assert refused.json()["error"]["message"]


def test_what_is_no_json_is_told_where_it_is_none(client: TestClient) -> None:
    for path in POSTS:
        answer = client.post(path, content=b'{"prompt": ')
        error = answer.json()["error"]
        assert answer.status_code == 400
        assert (error["code"], error["param"]) == ("not_json", None)
        assert "Expecting value" in error["message"]


def test_a_part_of_no_kind_is_told_in_our_words(client: TestClient) -> None:
    part = {"type": ["input_text"], "text": "ab"}
    answer = client.post("/v1/responses", json={"input": [{"role": "user", "content": [part]}]})
    assert answer.status_code == 400
    assert "input[0].content[0] is of type ['input_text']" in answer.json()["error"]["message"]


GRAMMARS: list[dict[str, Any]] = [
    {"grammar": "start: nowhere"},
    {"grammar": 'root ::= "a'},
    {"regex": "("},
    {"json_schema": {"$ref": "#/nowhere"}},
    {"json_schema": {"type": "nonsense"}},
    {"response_format": {"type": "json_schema"}},
    {"response_format": {"type": "nonsense"}},
    {"choice": []},
]


@pytest.mark.parametrize("form", GRAMMARS, ids=str)
def test_a_form_that_cannot_be_read_is_never_decoded_without(
    files: Files, form: dict[str, Any]
) -> None:
    async def scenario() -> None:
        async with staged(files) as stage:
            stage.decoder.open_gate()
            for path in DECODING:
                for stream in (False, True):
                    asked = stage.ask(path, **{**ANY, **form}, stream=stream)
                    assert await asked.status() == 400, (path, await asked.body())
            assert stage.decoder.work["target"].tokens == 0

    run(scenario)


def test_json_nested_a_million_deep_is_refused_at_once(client: TestClient) -> None:
    for opening, closing in (("[", "]"), ('{"a":', "}"), ('[{"a":', "}]")):
        deep = opening * 1_000_000 + "1" + closing * 1_000_000
        for path in POSTS:
            for body in (deep, f'{{"prompt": "a", "messages": {deep}}}', opening * 1_000_000):
                answer = client.post(path, content=body)
                assert answer.status_code == 400
                assert answer.json()["error"]["code"] == "json_depth"


COUNTS = (
    *("n", "best_of", "max_tokens", "max_completion_tokens", "n_predict", "max_output_tokens"),
    *("n_probs", "top_logprobs", "logprobs", "num_draft_tokens", "tree_width", "seed"),
)


@pytest.mark.parametrize("count", [-2, -(2**31), -(2**63), -(2**70), 2**31, 2**63, 2**64, 2**70])
@pytest.mark.parametrize("name", COUNTS)
def test_counts_that_are_negative_or_beyond_all_bounds_are_refused(
    client: TestClient, name: str, count: int
) -> None:
    for path in DECODING:
        answer = client.post(path, json={**ANY, name: count})
        assert answer.status_code in (200, 400), answer.text
        if name in MODELS[path].model_fields and (path, name) != ("/v1/responses", "n_probs"):
            assert answer.status_code == 400 or is_allowed(name, count)


def is_allowed(name: str, count: int) -> bool:
    """A seed has 64 bits; a limit may be beyond what is possible."""
    limits = ("max_tokens", "max_completion_tokens", "n_predict", "max_output_tokens")
    return count > 0 and (name in limits or (name == "seed" and count < 2**64))


# --- grammars that take their time ----------------------------------------------------------------


class Compiling:
    """A compiler of grammars that waits for leave."""

    def __init__(self, decoder: Decoder, monkeypatch: pytest.MonkeyPatch) -> None:
        self.begun = 0
        self.leave = threading.Event()
        self._compile = decoder.compile_grammar
        monkeypatch.setattr(decoder, "compile_grammar", self)

    def __call__(self, **form: Any) -> object:
        self.begun += 1
        self.leave.wait()
        return self._compile(**form)


def test_who_waits_for_a_grammar_counts_as_waiting(
    files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        async with staged(files, options={"n_seq_max": 1}, max_queue=1) as stage:
            stage.decoder.open_gate()
            compiling = Compiling(stage.decoder, monkeypatch)
            waiting = [stage.ask(regex="a{3}", ignore_eos=False) for _ in range(2)]
            await until(lambda: compiling.begun == 2)
            assert await stage.ask(regex="b").status() == 429
            compiling.leave.set()
            for exchange in waiting:
                assert (await exchange.json())["choices"][0]["text"] == "aaa"
            assert await stage.ask().status() == 200

    run(scenario)


def test_grammars_of_who_has_left_are_not_compiled(
    files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        async with staged(files) as stage:
            stage.decoder.open_gate()
            compiling = Compiling(stage.decoder, monkeypatch)
            asked = [stage.ask(regex="a{3}") for _ in range(6)]
            await until(lambda: compiling.begun == 2)
            for exchange in asked:
                exchange.leave()
                await exchange.ended()
            compiling.leave.set()
            last = stage.ask(regex="b{2}", ignore_eos=False)
            assert (await last.json())["choices"][0]["text"] == "bb"
            assert compiling.begun == 3
            assert stage.server.worker.under_way == 0

    run(scenario)


# --- a decoder that is stuck ----------------------------------------------------------------------


def test_a_step_that_does_not_end_is_no_health_until_it_does(files: Files) -> None:
    async def scenario() -> None:
        async with staged(files, stalled_seconds=0.05) as stage:
            stuck = stage.ask()
            await stage.at_gate()
            await until(lambda: stage.server.worker.seconds_busy > 0.05)
            status, health = await stage.health()
            assert (status, health["status"]) == (503, "error")
            assert "one step has taken" in health["error"]["message"]
            assert b"rewardshift:ready 0.0" in await Exchange(stage.app, "/metrics").body()
            stage.decoder.open_gate()
            assert await stuck.status() == 200
            await until(lambda: stage.server.health == ("ok", ""))
            assert (await stage.health())[0] == 200

    run(scenario)
