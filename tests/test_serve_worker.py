"""Places are freed at once, health tells the truth, and what goes wrong with one harms no other."""

from __future__ import annotations

import asyncio
import json
import threading
from typing import TYPE_CHECKING, Any

import pytest

from rewardshift import Error, OutOfMemoryError
from rewardshift.serve import Settings, build_app
from tests.support.engine import EXACT
from tests.support.exchange import Exchange, living, until
from tests.support.gated import GatedDecoder
from tests.support.served import VOCAB, decoder_of
from tests.support.staged import COMPLETIONS, staged
from tests.support.tiny_gguf import CHATML_TEMPLATE

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from tests.conftest import Files


def run(scenario: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(scenario())


def text_of(events: bytes) -> str:
    lines = [line for line in events.decode().split("\n\n") if line.startswith("data: {")]
    chunks = [json.loads(line.removeprefix("data: ")) for line in lines]
    return "".join(choice["text"] for chunk in chunks for choice in chunk["choices"])


# --- who leaves frees a place ---------------------------------------------------------------------


@pytest.mark.parametrize("deterministic", [False, True])
def test_who_leaves_while_waiting_waits_no_more(files: Files, deterministic: bool) -> None:
    async def scenario() -> None:
        async with staged(files, options={"n_seq_max": 1}) as stage:
            first = stage.ask(seed=1, deterministic=deterministic)
            await stage.at_gate()
            second = stage.ask(seed=2, deterministic=deterministic)
            await until(lambda: stage.server.worker.under_way == 2)
            assert (stage.server.processing, stage.server.deferred) == (1, 1)
            await stage.take(1)
            second.leave()
            await second.ended()
            stage.decoder.open_gate()
            await first.json()
            await until(lambda: stage.server.worker.under_way == 0)
            said = stage.server.metrics.text().decode()
            assert 'rewardshift:answers_total{finish="cancelled"} 1.0' in said
            assert "rewardshift:tokens_predicted_total 8.0" in said

    run(scenario)


@pytest.mark.parametrize("stream", [False, True])
def test_who_leaves_while_the_prompt_is_read_frees_its_place(files: Files, stream: bool) -> None:
    async def scenario() -> None:
        async with staged(files, options={"n_ctx": 4096, "n_batch": 64}) as stage:
            long = stage.ask(prompt="ab " * 1200, stream=stream)
            await stage.at_gate()
            await stage.take(1)
            read = stage.decoder.work["target"].tokens
            assert 0 < read < 1200
            long.leave()
            await long.ended()
            stage.decoder.open_gate()
            await until(lambda: stage.server.worker.under_way == 0)
            assert stage.decoder.work["target"].tokens == 2 * read  # by the step that it was in

    run(scenario)


@pytest.mark.parametrize("deterministic", [False, True])
def test_who_leaves_while_it_is_answered_frees_its_place(files: Files, deterministic: bool) -> None:
    async def scenario() -> None:
        async with staged(files) as stage:
            leaving = stage.ask(max_tokens=300, stream=True, deterministic=deterministic)
            stage.decoder.let(6)
            assert await leaving.chunk()
            leaving.leave()
            await leaving.ended()
            stage.decoder.open_gate()
            await until(lambda: stage.server.worker.under_way == 0)
            assert stage.decoder.work["target"].tokens < 30

    run(scenario)


def test_who_leaves_before_the_decoder_has_heard_is_never_submitted(files: Files) -> None:
    async def scenario() -> None:
        async with staged(files) as stage:
            first = stage.ask(max_tokens=4)
            await stage.at_gate()
            unheard = [stage.ask(n=3) for _ in range(5)]
            await until(lambda: stage.server.worker.under_way == 16)
            for exchange in unheard:
                exchange.leave()
                await exchange.ended()
            stage.decoder.open_gate()
            assert (await first.json())["usage"]["completion_tokens"] == 4
            await until(lambda: stage.server.worker.under_way == 0)
            assert "cancelled" not in stage.server.metrics.text().decode()

    run(scenario)


def test_cancelling_one_does_not_touch_another(files: Files) -> None:
    """Both are decoded in the same batches; the text of the other is what its seed says."""
    asked = {"prompt": "cd ab", "max_tokens": 40, "seed": 5}

    async def scenario() -> None:
        async with staged(files) as stage:
            stage.decoder.open_gate()
            alone = (await stage.ask(**asked, deterministic=False).json())["choices"][0]["text"]
            leaving = [stage.ask(max_tokens=400, stream=True, seed=i) for i in range(3)]
            for exchange in leaving:
                assert await exchange.chunk()
            staying = stage.ask(**asked, deterministic=False, stream=True)
            assert await staying.chunk()
            for exchange in leaving:
                exchange.leave()
            assert text_of(await staying.body()) in alone
            assert len(alone) > 0

    run(scenario)


# --- slow readers ---------------------------------------------------------------------------------


def test_a_reader_that_stops_holds_nobody_up(files: Files) -> None:
    async def scenario() -> None:
        async with staged(files) as stage:
            stage.decoder.open_gate()
            asked = {"max_tokens": 100, "seed": 4}
            whole = (await stage.ask(**asked).json())["choices"][0]["text"]
            body = {"prompt": "ab", "ignore_eos": True, "stream": True, **asked}
            slow = Exchange(stage.app, COMPLETIONS, body, is_read=False)
            other = await stage.ask(**asked, prompt="cd").json()
            assert other["usage"]["completion_tokens"] == 100
            await until(lambda: stage.server.worker.under_way == 0)
            slow.read_on()
            events = await slow.body()
            assert text_of(events) == whole
            assert events.count(b"data: {") < 10  # what it had not read is one chunk

    run(scenario)


def test_silence_is_told_of_only_where_that_is_asked_for(files: Files) -> None:
    async def said(seconds: float | None) -> bytes:
        async with staged(files, keep_alive_seconds=seconds) as stage:
            stream = stage.ask(stream=True, max_tokens=2)
            await stage.at_gate()
            await asyncio.sleep(0.1)
            stage.decoder.open_gate()
            return await stream.body()

    assert b": keep-alive\n\n" in asyncio.run(said(0.01))
    assert b": keep-alive" not in asyncio.run(said(None))


# --- health ---------------------------------------------------------------------------------------


def test_health_and_metrics_answer_while_a_step_takes_its_time(files: Files) -> None:
    async def scenario() -> None:
        async with staged(files, options={"n_ctx": 4096}) as stage:
            long = stage.ask(prompt="ab " * 1300)
            await stage.at_gate()
            for path in ("/health", "/metrics", "/props", "/v1/models"):
                assert await Exchange(stage.app, path).status() == 200
            assert stage.decoder.work["target"].tokens == 0
            _, health = await stage.health()
            assert health["status"] == "ok"
            assert health["under_way"] == 1
            assert health["seconds_busy"] > 0
            stage.decoder.open_gate()
            assert (await long.json())["usage"]["completion_tokens"] == 8

    run(scenario)


def test_a_step_that_never_ends_is_no_health(files: Files) -> None:
    async def scenario() -> None:
        async with staged(files, stalled_seconds=0.01) as stage:
            stage.ask()
            await stage.at_gate()
            await until(lambda: stage.server.worker.seconds_busy > 0.01)
            status, health = await stage.health()
            assert (status, health["status"]) == (503, "error")

    run(scenario)


def test_nothing_is_answered_while_models_load(files: Files) -> None:
    may_load = threading.Event()

    def open_decoder() -> Any:
        may_load.wait()
        return decoder_of(files)

    async def scenario() -> None:
        app = build_app(open_decoder, Settings())
        async with living(app):
            for path, body in (("/health", None), ("/props", None), (COMPLETIONS, {"prompt": "a"})):
                early = Exchange(app, path, body)
                assert await early.status() == 503
                assert early.headers["retry-after"] == "1"
                assert "loaded" in (await early.json())["error"]["message"]
            may_load.set()
            await until(lambda: app.state.server.health[0] == "ok")
            assert (
                await Exchange(app, COMPLETIONS, {"prompt": "a", "max_tokens": 1}).status() == 200
            )

    run(scenario)


def test_a_model_that_cannot_be_loaded_is_no_health() -> None:
    def open_decoder() -> Any:
        raise Error("it is damaged")

    async def scenario() -> None:
        app = build_app(open_decoder, Settings())
        async with living(app):
            await until(lambda: app.state.server.worker.state == "error")
            for path, body in (("/health", None), (COMPLETIONS, {"prompt": "a"})):
                exchange = Exchange(app, path, body)
                assert await exchange.status() == 503
                assert "it is damaged" in (await exchange.json())["error"]["message"]

    run(scenario)


# --- what fails -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("failure", "status", "code"),
    [
        (lambda: OutOfMemoryError("no memory", 9), 503, "out_of_memory"),
        (MemoryError, 503, "out_of_memory"),
        (lambda: Error("no"), 500, None),
        (RuntimeError, 500, None),
    ],
)
@pytest.mark.parametrize("is_broken", [False, True])
def test_a_step_that_fails_ends_what_is_under_way_and_nothing_more(
    files: Files, failure: Callable[[], Exception], status: int, code: str | None, is_broken: bool
) -> None:
    async def scenario() -> None:
        async with staged(files) as stage:
            whole, stream = stage.ask(), stage.ask(stream=True)
            await until(lambda: stage.server.worker.under_way == 2)
            await stage.at_gate()
            await stage.take(1)
            broken = stage.decoder
            broken.forgetting = Error("not even that") if is_broken else None
            broken.failure = failure()
            broken.open_gate()
            assert await whole.status() == status
            assert (await whole.json())["error"]["code"] == code
            events = await stream.body()
            assert b'data: {"error": ' in events
            assert b"[DONE]" not in events
            await until(lambda: stage.server.health[0] == "ok")
            assert len(stage.made) == 1 + is_broken
            stage.decoder.open_gate()
            assert (await stage.ask().json())["usage"]["completion_tokens"] == 8

    run(scenario)


def test_a_row_that_is_no_distribution_is_an_error_of_its_request_alone(files: Files) -> None:
    poison = VOCAB.tokens.index("c")
    model = files.model(vocab=VOCAB, chat_template=CHATML_TEMPLATE, nan_embedding=poison)

    async def scenario() -> None:
        app = build_app(lambda: GatedDecoder(model.path, **EXACT), Settings(drain_seconds=0))
        async with living(app):
            server = app.state.server
            await until(lambda: server.health[0] == "ok")
            server.worker.decoder.open_gate()
            asked = {"max_tokens": 20, "logit_bias": {str(poison): -100}}
            good = Exchange(app, COMPLETIONS, {**asked, "prompt": "ab"})
            bad = Exchange(app, COMPLETIONS, {**asked, "prompt": "abc"})
            assert await bad.status() == 500
            assert (await bad.json())["error"]["code"] == "evaluation_failed"
            assert await good.status() == 200
            assert server.health[0] == "ok"

    run(scenario)


# --- limits ---------------------------------------------------------------------------------------


def test_who_comes_when_too_many_wait_is_told_to_come_again(files: Files) -> None:
    async def scenario() -> None:
        async with staged(files, options={"n_seq_max": 2}, max_queue=1) as stage:
            under_way = [stage.ask(), stage.ask(), stage.ask()]
            await until(lambda: stage.server.worker.under_way == 3)
            refused = stage.ask()
            assert await refused.status() == 429
            assert int(refused.headers["retry-after"]) >= 1
            assert (await refused.json())["error"]["type"] == "rate_limit_error"
            stage.decoder.open_gate()
            for exchange in under_way:
                assert await exchange.status() == 200
            assert await stage.ask(n=3).status() == 200
            assert await stage.ask(n=4).status() == 429

    run(scenario)


# --- the end --------------------------------------------------------------------------------------


def test_answers_under_way_end_before_the_server_does(files: Files) -> None:
    async def scenario() -> None:
        async with staged(files, drain_seconds=60) as stage:
            running = stage.ask(stream=True)
            await stage.at_gate()
            draining = asyncio.ensure_future(stage.server.drain())
            await until(lambda: stage.server.health[0] == "stopping")
            late = stage.ask()
            assert await late.status() == 503
            assert (await late.json())["error"]["code"] == "shutting_down"
            assert not draining.done()
            stage.decoder.open_gate()
            assert (await running.body()).endswith(b"data: [DONE]\n\n")
            await draining

    run(scenario)


def test_answers_that_take_too_long_to_end_are_ended(files: Files) -> None:
    async def scenario() -> None:
        async with staged(files, drain_seconds=0) as stage:
            running, whole = stage.ask(stream=True), stage.ask()
            await stage.at_gate()
            await stage.server.drain()
            assert b"shutting_down" in await running.body()
            assert await whole.status() == 503

    run(scenario)


# --- the log --------------------------------------------------------------------------------------


@pytest.mark.parametrize("log_prompts", [False, True])
def test_each_request_is_one_line_of_the_log(
    files: Files, log_prompts: bool, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        async with staged(files, log_prompts=log_prompts) as stage:
            stage.decoder.open_gate()
            answered = stage.ask(prompt="dabbed", stream=True)
            await answered.body()
            await answered.ended()
            refused = stage.ask(prompt="dabbed", temperature=-1)
            await refused.ended()
            left = stage.ask(prompt="dabbed", max_tokens=400, stream=True)
            await left.chunk()
            left.leave()
            await left.ended()
            ids.extend(e.headers["x-request-id"] for e in (answered, refused, left))

    ids: list[str] = []
    with caplog.at_level("INFO", "rewardshift.serve.requests"):
        run(scenario)
    lines = [json.loads(r.message) for r in caplog.records if r.name.endswith("serve.requests")]
    answered, refused, left = [next(li for li in lines if li["id"] == i) for i in ids]
    assert (answered["status"], answered["path"], answered["method"]) == (200, COMPLETIONS, "POST")
    assert (answered["completion_tokens"], answered["finish"]) == (8, ["length"])
    assert answered["prompt_tokens"] == 1 + len("dabbed") - 1  # <s>, and "ab" is one token
    assert 0 < answered["first_token_seconds"] <= answered["seconds"]
    assert (refused["status"], refused["error"]) == (400, "invalid_request_error")
    assert left["error"] == "client_gone"
    assert ("dabbed" in caplog.text) == log_prompts


# --- metrics --------------------------------------------------------------------------------------


def test_what_happens_is_counted(files: Files) -> None:
    async def scenario() -> None:
        app = build_app(lambda: decoder_of(files), Settings())
        async with living(app):
            await until(lambda: app.state.server.health[0] == "ok")
            asked = {"prompt": "ab cd", "max_tokens": 30, "seed": 1, "ignore_eos": True}
            exchange = Exchange(app, COMPLETIONS, asked)
            told = (await exchange.json())["rewardshift"]
            await Exchange(app, COMPLETIONS, {**asked, "temperature": -1}).ended()
            await Exchange(app, "/nowhere").ended()
            metrics = Exchange(app, "/metrics")
            said = (await metrics.body()).decode()
        assert metrics.headers["content-type"].startswith("text/plain")
        values = {
            name: float(value)
            for name, _, value in (line.rpartition(" ") for line in said.splitlines())
            if name.startswith("rewardshift:")
        }
        mine = {name.removeprefix("rewardshift:"): value for name, value in values.items()}
        assert mine["tokens_predicted_total"] == 30
        assert mine["prompt_tokens_total"] == 4
        assert mine["spec_decode_num_draft_tokens_total"] == told["drafted"]
        assert mine["spec_decode_num_accepted_tokens_total"] == told["accepted"]
        assert mine["acceptance"] == pytest.approx(told["acceptance"])
        assert mine["z_sum"] == pytest.approx(told["z"]["mean"])
        assert mine['seconds_total{role="target"}'] == pytest.approx(told["seconds"]["target"])
        assert mine['answers_total{finish="length"}'] == 1
        assert mine[f'requests_total{{path="{COMPLETIONS}",status="200"}}'] == 1
        assert mine['requests_total{path="other",status="404"}'] == 1
        assert mine['errors_total{kind="invalid_request_error"}'] == 2
        assert mine['evaluated_tokens{reader="target"}'] > 30
        assert (mine["slots"], mine["ready"]) == (16, 1)
        assert (mine["requests_processing"], mine["requests_deferred"]) == (0, 0)
        assert mine["first_token_seconds_count"] == 1

    run(scenario)
