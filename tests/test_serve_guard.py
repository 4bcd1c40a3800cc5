"""What is turned away before a handler sees it: hosts, pages, keys, large and deep bodies."""

from __future__ import annotations

import json
import random
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewardshift.serve.guard.body import is_within_depth
from rewardshift.serve.guard.host import host_name
from tests.support.served import serving

if TYPE_CHECKING:
    from collections.abc import Iterator

    from starlette.testclient import TestClient

    from tests.conftest import Files

URL = "/v1/completions"
ASKED: dict[str, Any] = {"prompt": "a", "max_tokens": 1}


@pytest.fixture(scope="module")
def client(files: Files) -> Iterator[TestClient]:
    with serving(
        files, max_body_bytes=2000, max_json_depth=10, allowed_origins=("https://a.example",)
    ) as opened:
        yield opened


# --- bodies ---------------------------------------------------------------------------------------


def test_a_body_that_is_too_large_is_a_413(client: TestClient) -> None:
    large = json.dumps({**ASKED, "prompt": "a" * 2000}).encode()
    assert client.post(URL, content=large).status_code == 413

    def parts() -> Iterator[bytes]:  # without a Content-Length
        yield from (large[i : i + 100] for i in range(0, len(large), 100))

    answer = client.post(URL, content=parts())
    assert answer.status_code == 413
    assert answer.json()["error"]["code"] == "body_too_large"


def nested(depth: int, opening: str = "[", closing: str = "]") -> str:
    return opening * depth + closing * depth


def test_json_that_is_too_deep_is_a_400(client: TestClient) -> None:
    at_most = f'{{"prompt": "a", "max_tokens": 1, "x": {nested(9)}}}'
    assert client.post(URL, content=at_most).status_code == 200
    for deeper in (nested(10), nested(900), "[" * 1000, nested(300, '{"a":', "}"), "{" * 1000):
        answer = client.post(URL, content=f'{{"prompt": "a", "x": {deeper}}}')
        assert answer.status_code == 400
        assert answer.json()["error"]["code"] == "json_depth"


def test_brackets_in_texts_are_no_depth(client: TestClient) -> None:
    prompt = '[[[[[[[[[[[[{"\\" ]'
    answer = client.post(URL, json={**ASKED, "prompt": prompt})
    assert answer.status_code == 200


VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.text(alphabet='[]{}"\\a'),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text('[]{}"\\'), inner, max_size=3)
    ),
    max_leaves=12,
)


def depth_of(value: object) -> int:
    if isinstance(value, dict):
        return 1 + max(map(depth_of, value.values()), default=0)
    if isinstance(value, list):
        return 1 + max(map(depth_of, value), default=0)
    return 0


@given(VALUES)
def test_depth_is_counted_exactly(value: object) -> None:
    depth = depth_of(value)
    body = json.dumps(value).encode()
    assert is_within_depth(body, depth)
    assert depth == 0 or not is_within_depth(body, depth - 1)


@pytest.mark.parametrize(
    "body",
    [
        b'"\\' * 400_000,
        b'"' + b'\\"' * 400_000,
        b"[]" * 400_000,
        b"[" * 800_000,
        b"[{" * 400_000,
        b"]" * 800_000,
        bytes(random.Random(0).choices(b'[]{}"\\a', k=800_000)),
    ],
)
def test_no_body_takes_long_to_look_through(body: bytes) -> None:
    """What is quadratic takes hours of these; what is not, hundredths of a second."""
    is_within_depth(body, 64)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b"\xff\xfe",
        b'{"prompt": "a"',
        b'{"prompt": 1e999999}',
        b"NaN",
        b'{"prompt": "a", "seed": ' + b"9" * 1000 + b"}",
        b'{"prompt": "\\ud800"}',
        b'"a"',
    ],
)
def test_what_is_no_request_is_a_400(client: TestClient, body: bytes) -> None:
    answer = client.post(URL, content=body)
    assert answer.status_code == 400, answer.text
    assert set(answer.json()["error"]) == {"message", "type", "param", "code"}


def test_a_body_is_json_whatever_it_is_called(client: TestClient) -> None:
    for kind in ("application/x-www-form-urlencoded", "text/plain", "nonsense"):
        answer = client.post(URL, content=json.dumps(ASKED), headers={"content-type": kind})
        assert answer.status_code == 200


def test_what_there_is_not_is_an_error_object_too(client: TestClient) -> None:
    for method, path, status in (("GET", "/none", 404), ("GET", URL, 405), ("PUT", URL, 405)):
        answer = client.request(method, path)
        assert answer.status_code == status
        assert set(answer.json()["error"]) == {"message", "type", "param", "code"}
    assert client.get("/v1/models/none").json()["error"]["code"] == "no_model"


# --- keys -----------------------------------------------------------------------------------------


def test_only_a_key_opens_a_server_that_has_keys(files: Files) -> None:
    with serving(files, api_keys=(b"first", b"second")) as client:
        for headers in ({}, {"Authorization": "Bearer third"}, {"Authorization": "first"}):
            for path in ("/v1/models", "/props", "/metrics", "/openapi.json"):
                answer = client.get(path, headers=headers)
                assert answer.status_code == 401
                assert answer.json()["error"]["type"] == "authentication_error"
                assert answer.headers["www-authenticate"] == "Bearer"
            assert client.post(URL, json=ASKED, headers=headers).status_code == 401
        for headers in (
            {"Authorization": "Bearer first"},
            {"Authorization": "bearer second"},
            {"X-Api-Key": "second"},
        ):
            assert client.post(URL, json=ASKED, headers=headers).status_code == 200
        assert client.get("/health").status_code == 200


# --- hosts and pages ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200),
        ("LocalHost:8080", 200),
        ("app.localhost", 200),
        ("127.0.0.1:1", 200),
        ("[::1]:8080", 200),
        ("192.168.0.7", 200),
        ("evil.example", 403),
        ("evil.example:8080", 403),
        ("localhost.evil.example", 403),
        ("127.0.0.1.evil.example", 403),
        ("", 403),
    ],
)
def test_only_names_of_this_machine_are_answered(
    client: TestClient, host: str, status: int
) -> None:
    assert client.get("/health", headers={"host": host}).status_code == status


def test_names_can_be_allowed(files: Files) -> None:
    with serving(files, allowed_hosts=("Box.example",)) as client:
        for host, status in (("box.example:80", 200), ("other.example", 403)):
            assert client.get("/health", headers={"host": host}).status_code == status
    with serving(files, allowed_hosts=("*",)) as client:
        assert client.get("/health", headers={"host": "other.example"}).status_code == 200


@pytest.mark.parametrize(
    ("host", "name"),
    [("a", "a"), ("A:1", "a"), ("[::1]:1", "::1"), ("::1", "::1"), ("[::1", "::1")],
)
def test_the_name_in_a_host(host: str, name: str) -> None:
    assert host_name(host) == name


def test_pages_elsewhere_may_not_ask(client: TestClient) -> None:
    for origin, status in (
        ("http://localhost", 200),
        ("https://a.example", 200),
        ("https://b.example", 403),
        ("null", 403),
        ("http://localhost.evil.example", 403),
    ):
        answer = client.post(URL, json=ASKED, headers={"origin": origin})
        assert answer.status_code == status
        allowed = answer.headers.get("access-control-allow-origin")
        assert allowed == (origin if origin == "https://a.example" else None)


def test_browsers_of_allowed_pages_are_told_what_they_may(client: TestClient) -> None:
    asking = {
        "access-control-request-method": "POST",
        "access-control-request-headers": "authorization, x-stainless-os",
    }
    answer = client.options(URL, headers={"origin": "https://a.example", **asking})
    assert answer.status_code == 204
    assert answer.headers["access-control-allow-origin"] == "https://a.example"
    assert "POST" in answer.headers["access-control-allow-methods"]
    assert answer.headers["access-control-allow-headers"] == "authorization, x-stainless-os"
    assert client.options(URL, headers={"origin": "https://b.example", **asking}).status_code == 403


def test_errors_are_described_as_they_are(client: TestClient) -> None:
    told = client.get("/openapi.json").json()
    for methods in told["paths"].values():
        for operation in methods.values():
            assert set(operation["responses"]) == {"200", "default"}
    described = told["components"]["schemas"]["ErrorObject"]["properties"]
    assert set(client.post(URL, json={}).json()["error"]) == set(described)
