"""Every code block of the README runs."""

from __future__ import annotations

import shlex
import time
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import httpx
import pytest

from .support.documents import ROOT, Document, dry_run, run_command_line, write_example_models
from .support.http_server import Command

if TYPE_CHECKING:
    from pathlib import Path

README = Document(ROOT / "README.md")


@pytest.fixture
def readme_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the files that the README's examples name."""
    write_example_models(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_blocks_are_of_languages_that_are_tested() -> None:
    assert {language for language, _ in README.blocks} == {"console", "python"}


@pytest.mark.usefixtures("readme_models")
def test_python_blocks_run(capsys: pytest.CaptureFixture[str]) -> None:
    README.run_python_blocks()
    assert capsys.readouterr().out


SERVE = "rewardshift serve "
LINES = [c for c in README.commands if c.startswith("rewardshift ") and not c.startswith(SERVE)]


@pytest.mark.parametrize("command", LINES)
def test_command_lines_run(command: str, readme_models: Path) -> None:
    done = run_command_line(command, readme_models)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


@pytest.mark.usefixtures("readme_models")
def test_the_server_answers_as_shown() -> None:
    (serve,) = (shlex.split(c)[2:] for c in README.commands if c.startswith(SERVE))
    (curl,) = (shlex.split(c)[1:] for c in README.commands if c.startswith("curl "))
    address, flag, body = curl
    assert flag == "-d"
    assert "127.0.0.1:8080" in address  # the default
    with Command(*serve, "--port", "0") as command:
        url = command.wait_for_url()
        while httpx.get(f"{url}/health").status_code != httpx.codes.OK:
            time.sleep(0.1)
        kind = {"Content-Type": "application/x-www-form-urlencoded"}  # curl says so of any text
        at = url + urlsplit(address).path
        answer = httpx.post(at, content=body, headers=kind, timeout=60)
    assert answer.json()["choices"][0]["finish_reason"] in {"stop", "length"}, answer.text


@pytest.mark.parametrize("command", [c for c in README.commands if c.startswith("make ")])
def test_make_targets_exist(command: str) -> None:
    dry_run(command)


def test_the_demo_installs_nothing_that_only_tests_need_and_nothing_is_built_twice() -> None:
    demo, test = (dry_run(f"make --always-make {name}") for name in ("demo", "test"))
    assert "torch" not in demo
    assert "train" not in demo
    assert "torch" in test
    assert demo.count("install --quiet") == 3  # pip itself, what builds, the package
    assert test.startswith(demo.removesuffix(demo.splitlines(keepends=True)[-1]))
    assert test.count("--no-build-isolation") == 1


def test_no_other_commands_are_shown() -> None:
    known = {"make", "rewardshift", "curl"}
    assert all(command.split()[0] in known for command in README.commands)
