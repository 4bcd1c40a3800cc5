"""The rooms of python/rewardshift: who may import whom, and what users find where."""

from __future__ import annotations

import ast
import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

import rewardshift

PACKAGE = Path(rewardshift.__file__).parent
PAGE = Path(__file__).parents[1] / "docs" / "python.md"

FLOORS = (
    {"_core", "_variants", "boundary", "errors"},
    {"progress", "files", "grammar", "tables", "text"},
    {"sources"},
    {"readers", "shifts"},
    {"options", "results"},
    {"loading"},
    {"chat"},
    {"engine", "models", "hub", "costs", "prompt_files"},
    {"dials"},
    {"embedded", "asking"},
    {"decoder"},
    {"chat.turns"},  # the one file of its room that looks at a Decoder
    {"rewards", "bench"},
    {"methods", "check", "train"},
    {"evaluate", "serve"},
    {"cli"},
    {"llm_plugin"},
)
"""From the ground up: a room may import its own files and what lies on lower floors."""


def room_of(module: str) -> str:
    """The room that a module, named below the package, is in."""
    return "chat.turns" if module.startswith("chat.turns") else module.split(".", maxsplit=1)[0]


def floor_of(room: str) -> int:
    found = [floor for floor, rooms in enumerate(FLOORS) if room in rooms]
    assert len(found) == 1, f"which floor is {room} on? Say so in FLOORS"
    return found[0]


def imports(path: Path) -> set[str]:
    """The package's modules that a file imports, wherever in it, named below the package."""
    here = [*path.relative_to(PACKAGE).with_suffix("").parts]
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                base = ".".join(["rewardshift", *here[: len(here) - node.level], base]).rstrip(".")
            names = [f"{base}.{alias.name}" for alias in node.names]
        else:
            continue
        found |= {name.removeprefix("rewardshift.") for name in names if "rewardshift" in name}
    return found


@pytest.mark.parametrize(
    "path",
    [p for p in sorted(PACKAGE.rglob("*.py")) if p != PACKAGE / "__init__.py"],
    ids=lambda path: str(path.relative_to(PACKAGE)),
)
def test_a_room_imports_only_what_lies_below(path: Path) -> None:
    module = ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__")
    own = room_of(module)
    for name in imports(path):
        other = room_of(name)
        assert other == own or floor_of(other) < floor_of(own), f"{module} imports {name}"


def test_every_module_of_the_reference_is_there_after_importing_the_package() -> None:
    listed = set(re.findall(r"automodule:: (rewardshift(?:\.\w+)+)", PAGE.read_text("utf-8")))
    assert "rewardshift.models" in listed
    program = f"import rewardshift; [eval(name) for name in {sorted(listed)!r}]"
    subprocess.run([sys.executable, "-c", program], check=True)


def test_names_that_users_import_stay_where_they_were() -> None:
    for module, names in {
        "rewardshift.costs": "measure_costs",
        "rewardshift.embedded": "Roles embedded",
        "rewardshift.hub": "local_path",
        "rewardshift.models": "smollm2 smollm2_q4_0 requantised fetch cache_root PackagedModel",
        "rewardshift.prompt_files": "Preference read_preferences read_prompts",
    }.items():
        found = importlib.import_module(module)
        for name in names.split():
            assert hasattr(found, name), f"{module}.{name}"


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = rewardshift.nonsense
    assert "models" in dir(rewardshift)
