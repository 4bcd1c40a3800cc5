"""What errors over HTTP say, and which field they name."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import pytest

from rewardshift.serve.metrics import Metrics
from tests.support.served import decoder_of, serving

if TYPE_CHECKING:
    from collections.abc import Iterator

    from starlette.testclient import TestClient

    from tests.conftest import Files

URL = "/v1/completions"


@pytest.fixture(scope="module")
def client(files: Files) -> Iterator[TestClient]:
    with serving(files) as opened:
        yield opened


def error_of(client: TestClient, **fields: Any) -> dict[str, Any]:
    answer = client.post(URL, json={"prompt": "ab", "max_tokens": 2, **fields})
    assert answer.status_code == 400, answer.text
    found = answer.json()["error"]
    assert isinstance(found, dict)
    return found


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("strength", "much", "strength: "),
        ("strength", {"draft": "much"}, "strength.draft: Input should be a valid number"),
        ("strength", {"formal": 1}, "'formal'"),
        ("temperature", -1, "temperature"),
        ("temperature", "warm", "temperature: "),
        ("top_p", 2, "top_p"),
        ("stop", 5, "stop: "),
        ("stop", ["a", 5], "stop.1: "),
        ("response_format", {"type": "poem"}, "poem"),
        ("response_format", {"type": "json_schema"}, "json_schema"),
        ("num_draft_tokens", -3, "num_draft_tokens"),
        ("max_tokens", -7, "max_tokens"),
        ("regex", "(", "regex"),
        ("grammar", "no grammar", "name ::= ..."),
    ],
)
def test_the_field_that_is_wrong_is_named(
    client: TestClient, field: str, value: object, said: str
) -> None:
    error = error_of(client, **{field: value})
    assert error["param"] == field, error
    assert said in error["message"]
    for word in ("Decoder", "mapping", "n_ctx"):
        assert word not in error["message"]


def test_a_prompt_that_is_too_long_says_what_can_be_done(client: TestClient) -> None:
    error = error_of(client, prompt="ab " * 5000)
    assert error["code"] == "context_length_exceeded"
    assert "the server reads" in error["message"]
    assert "larger -c" in error["message"]
    assert "n_ctx" not in error["message"]


def test_an_endpoint_that_is_none_is_named(client: TestClient) -> None:
    answer = client.post("/infill", json={})
    assert answer.status_code == 404
    assert answer.json()["error"]["message"] == "there is no endpoint /infill; see /docs"


def test_a_z_beyond_all_numbers_spoils_no_sum(files: Files) -> None:
    metrics = Metrics()
    with decoder_of(files) as decoder:
        wild = decoder.generate("ab", max_tokens=4, strength=1e9, seed=1)
        assert wild.statistics.z is not None
        assert not math.isfinite(wild.statistics.z.mean)
        for completion in (wild, decoder.generate("ab", max_tokens=4, strength=1, seed=1)):
            metrics.answer_ended(decoder, completion, None)
    said = metrics.text().decode()
    assert "Inf\n" not in said
    assert "rewardshift:z_count 1.0" in said
    assert "rewardshift:z_overflows_total 1.0" in said
