"""Who leaves frees a place, whichever way was asked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.support.exchange import until
from tests.test_serve_worker import run, staged

if TYPE_CHECKING:
    from tests.conftest import Files

TALK = [{"role": "user", "content": "ab"}]
ASKED: dict[str, dict[str, Any]] = {
    "/v1/responses": {"input": "ab", "max_output_tokens": 200},
    "/completion": {"prompt": ["ab", "cd"], "n_predict": 200},
    "/v1/chat/completions": {
        "messages": TALK,
        "max_tokens": 200,
        "tools": [{"type": "function", "function": {"name": "f"}}],
    },
}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("path", ASKED)
def test_who_leaves_frees_its_place(files: Files, path: str, stream: bool) -> None:
    async def scenario() -> None:
        async with staged(files) as stage:
            exchange = stage.ask(path, **ASKED[path], stream=stream)
            await stage.at_gate()
            await stage.take(3)
            assert stage.server.processing > 0
            exchange.leave()
            await exchange.ended()
            stage.decoder.open_gate()
            await until(lambda: stage.server.worker.under_way == 0)
            said = stage.server.metrics.text().decode()
            assert 'finish="cancelled"' in said
            assert 'finish="length"' not in said

    run(scenario)
