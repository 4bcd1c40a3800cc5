"""schemathesis: whatever our own OpenAPI lets one ask, and what it does not, the server lives."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import version
from typing import TYPE_CHECKING

import httpx
import pytest

from .serving import running

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CLIENT = f"schemathesis {version('schemathesis')}"
EXAMPLES = os.environ.get("CLIENTS_EXAMPLES", "60")
"""Requests of each kind a route."""

CONFIGURATION = """
[checks]
not_a_server_error.expected-statuses = ["2xx", "3xx", "4xx", 503]
"""


@pytest.fixture(scope="module")
def short_url(flags: list[str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server whose context is small, so that no answer is long."""
    log = tmp_path_factory.mktemp("short") / "log"
    with running([*flags, "-c", "128"], log) as url:
        yield url
        assert "Traceback" not in log.read_text()


@pytest.mark.parametrize("mode", ["positive", "negative"])
def test_no_request_is_answered_by_a_5xx_but_503(mode: str, short_url: str, tmp_path: Path) -> None:
    configuration = tmp_path / "schemathesis.toml"
    configuration.write_text(CONFIGURATION)
    command = [sys.executable, "-m", "schemathesis.cli", "--config-file", str(configuration)]
    command += ["run", f"{short_url}/openapi.json", "--checks", "not_a_server_error"]
    command += ["--mode", mode, "--phases", "examples,coverage,fuzzing"]
    command += ["--max-examples", EXAMPLES, "--generation-deterministic", "--no-color"]
    command += ["--request-timeout", "120", "--suppress-health-check", "all"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    print(done.stdout)
    assert httpx.get(f"{short_url}/health").json()["status"] == "ok"
