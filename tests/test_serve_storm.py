"""Short runs of what ``make fuzz-http`` and ``make load`` do for long."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import rewardshift
from tests.support.mutate_body import ENDPOINTS, mutant, written
from tests.support.served import serving_of
from tests.support.tool_models import shifted_decoder

if TYPE_CHECKING:
    from collections.abc import Iterator

    from starlette.testclient import TestClient

    from tests.support.mutate_body import Endpoint

TESTS = Path(__file__).parent


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    folder = tmp_path_factory.mktemp("pair")
    with serving_of(lambda: shifted_decoder(folder)) as opened:
        yield opened


def run(script: str, *words: object) -> str:
    package = str(Path(rewardshift.__file__).parents[1])
    process = subprocess.run(
        [sys.executable, str(TESTS / script), *map(str, words)],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
        env={**os.environ, "PYTHONPATH": package},
    )
    assert process.returncode == 0, process.stdout + process.stderr
    return process.stdout


def test_mutated_requests_end_in_an_answer_or_in_an_error_of_theirs(tmp_path: Path) -> None:
    said = run("fuzz_http.py", "--n", 600, "--seed", 7, "--save", tmp_path / "failed")
    assert "0 of 600 requests failed" in said
    for endpoint in ENDPOINTS:
        assert endpoint.path in said
    for kind in ("× 200", "× 400", "× left"):
        assert kind in said


def test_clients_of_all_manners_get_their_own_answers_and_leave_nothing() -> None:
    said = run("load_http.py", "--clients", 20, "--seconds", 10)
    for manner in ("whole", "streamed", "slow reader", "leaves", "half a body", "bad body"):
        assert manner in said
    assert "0 failures, 20 clients" in said


def test_every_endpoint_that_takes_a_body_is_fuzzed() -> None:
    from rewardshift import Error
    from rewardshift.serve import build_app

    def open_decoder() -> None:
        raise Error("none is wanted")

    paths = build_app(open_decoder).openapi()["paths"]
    posts = {path for path, methods in paths.items() if "post" in methods}
    assert posts == {endpoint.path for endpoint in ENDPOINTS}


def test_a_mutant_is_the_same_whenever_it_is_made() -> None:
    first = [mutant(3, number) for number in range(300)]
    assert first == [mutant(3, number) for number in reversed(range(300))][::-1]
    assert len({made.body for made in first}) > 250


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda endpoint: endpoint.path)
def test_what_mutants_are_made_of_is_answered(client: TestClient, endpoint: Endpoint) -> None:
    for body in endpoint.bodies:
        answer = client.post(endpoint.path, content=written(body))
        assert answer.status_code == 200, answer.text
