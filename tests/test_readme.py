"""Every code block of the README runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from .support.documents import ROOT, Document, dry_run, run_command_line, write_example_models

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


@pytest.mark.parametrize("command", [c for c in README.commands if c.startswith("rewardshift ")])
def test_command_lines_run(command: str, readme_models: Path) -> None:
    done = run_command_line(command, readme_models)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


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
    assert all(command.split()[0] in {"make", "rewardshift"} for command in README.commands)
