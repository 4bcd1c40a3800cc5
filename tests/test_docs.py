"""The pages in docs/ show what runs, name what exists and draw what was measured."""

from __future__ import annotations

import importlib.util
import json
import re
from typing import TYPE_CHECKING

import pytest

import rewardshift

from .support.documents import ROOT, Document, dry_run, run_command_line, write_example_models

if TYPE_CHECKING:
    from pathlib import Path

PAGES = [Document(path) for path in sorted((ROOT / "docs").glob("*.md"))]
COMMANDS = [(page.name, command) for page in PAGES for command in page.commands]
TESTS = [path.read_text(encoding="utf-8") for path in sorted((ROOT / "tests").glob("test_*.py"))]

each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


@pytest.fixture
def example_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with the files that the examples name."""
    write_example_models(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@each_page
@pytest.mark.usefixtures("example_models")
def test_python_blocks_run(page: Document) -> None:
    page.run_python_blocks()


@pytest.mark.parametrize(("page", "command"), COMMANDS)
def test_commands_run(page: str, command: str, example_models: Path) -> None:
    if command.startswith("make "):
        dry_run(command)
    else:
        assert command.startswith("rewardshift "), page
        done = run_command_line(command, example_models)
        assert done.returncode == 0, done.stderr


@each_page
def test_blocks_are_tested_or_no_examples(page: Document) -> None:
    assert {language for language, _ in page.blocks} <= {"console", "cpp", "python", "text"}


@each_page
def test_tests_named_as_proof_exist(page: Document) -> None:
    for name in re.findall(r"`(test_\w+)`", page.text):
        assert any(f"def {name}(" in source for source in TESTS), name
    for path in re.findall(r"`((?:benchmarks|cpp|docs|tests)/[\w./]+)`", page.text):
        assert (ROOT / path).exists(), path


def test_cpp_blocks_quote_the_sources() -> None:
    sources = [path.read_text(encoding="utf-8") for path in (ROOT / "cpp").rglob("*.[hc]*")]
    for page in PAGES:
        for language, block in page.blocks:
            for line in block.splitlines() if language == "cpp" else ():
                assert any(line in source for source in sources), line


def test_every_public_name_has_its_place_in_the_reference() -> None:
    reference = next(page.text for page in PAGES if page.path.name == "python.md")
    documented = set(
        re.findall(r"^\.\. (?:auto\w+|py:data):: (\w+)$", reference, flags=re.MULTILINE)
    )
    assert set(rewardshift.__all__) - {"__version__"} <= documented


def test_the_cost_curve_s_plot_shows_its_measurements() -> None:
    folder = ROOT / "docs" / "plots"
    spec = importlib.util.spec_from_file_location("plot", folder / "cost_curve.py")
    assert spec is not None
    assert spec.loader is not None
    plot = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(plot)
    measured = json.loads((folder / "cost_curve.json").read_text(encoding="utf-8"))
    drawn = (folder / "cost_curve.svg").read_text(encoding="utf-8")
    assert plot.draw(measured) == drawn, "run python docs/plots/cost_curve.py"


def test_the_cost_curve_s_table_shows_its_measurements() -> None:
    measured = json.loads((ROOT / "docs/plots/cost_curve.json").read_text(encoding="utf-8"))
    page = (ROOT / "docs/performance.md").read_text(encoding="utf-8")
    for model in measured["models"]:
        row = re.search(rf"^\| {re.escape(model['name'])} \|(.*)\|$", page, flags=re.MULTILINE)
        assert row is not None, model["name"]
        shown = [float(cell) for cell in row[1].split("|")]
        columns = [model["ms"][model["rows"].index(n)] for n in (1, 2, 3, 4, 5, 8, 16)]
        assert shown == pytest.approx(columns, rel=0.02), model["name"]
