"""The application over tiny models, for tests that need no network."""

from __future__ import annotations

import json
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from starlette.testclient import TestClient

from rewardshift import Decoder
from rewardshift.serve import Settings, build_app

from .engine import EXACT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from httpx import Response

    from tests.conftest import Files

from .tiny_gguf import CHATML_TEMPLATE, spm_vocab

VOCAB = spm_vocab(byte_tokens=True)


def decoder_of(files: Files, **options: Any) -> Decoder:
    """A pair and its target, with a chat template."""
    target, draft, reference = files.trio(vocab=VOCAB, chat_template=CHATML_TEMPLATE)
    return Decoder(target.path, draft.path, reference.path, **{**EXACT, "n_ctx": 512, **options})


@contextmanager
def serving(files: Files, *, options: Any = None, **settings: Any) -> Iterator[TestClient]:
    """A client of an application whose models are loaded."""
    with serving_of(lambda: decoder_of(files, **(options or {})), **settings) as client:
        yield client


@contextmanager
def serving_of(open_decoder: Callable[[], Decoder], **settings: Any) -> Iterator[TestClient]:
    """The same of any decoder."""
    app = build_app(open_decoder, Settings(**settings))
    with TestClient(app, base_url="http://localhost", raise_server_exceptions=False) as client:
        wait_until_ready(client)
        yield client


def wait_until_ready(client: TestClient, seconds: float = 60) -> None:
    """Until health says so."""
    end = time.monotonic() + seconds
    while (answer := client.get("/health")).status_code != 200:
        assert time.monotonic() < end, answer.text
        time.sleep(0.01)


def events_of(response: Response) -> list[dict[str, Any]]:
    """The data of a stream, which ends with [DONE]."""
    lines = [line for line in response.text.split("\n\n") if line]
    assert lines[-1] == "data: [DONE]", response.text
    return [json.loads(line.removeprefix("data: ")) for line in lines[:-1]]
