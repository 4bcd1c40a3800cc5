"""pytest's plugin for llama.cpp's tests: what they ask of its toy model is left out, by name.

A test that is expected to differ must differ, and all others pass.
"""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from .differences import DIFFERENT, LEFT_OUT, TOY_TEXTS

TALLY_VARIABLE = "REWARDSHIFT_SUITE_TALLY"
"""The variable with the file to which it is written what became of the tests."""

sys.modules["wget"] = ModuleType("wget")  # their helpers import it; nothing is fetched


class AnyCount(int):
    """How many tokens the toy model cuts a prompt into: another model, any number."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, int) and other > 0

    __hash__ = int.__hash__


def pytest_configure() -> None:
    import utils  # type: ignore[import-not-found]  # theirs

    utils.ServerPreset.load_all = staticmethod(lambda: None)
    matches = utils.match_regex
    utils.match_regex = lambda regex, text: regex in TOY_TEXTS or matches(regex, text)


def pytest_collection_modifyitems(items: list[pytest.Function]) -> None:
    units = {item.module.__name__.removeprefix("unit.") for item in items}
    unused = {name for name in (*DIFFERENT, *LEFT_OUT) if name.partition("::")[0] in units}
    for item in items:
        if hasattr(item, "callspec") and "n_prompt" in item.callspec.params:
            item.callspec.params["n_prompt"] = AnyCount()
        name = f"{item.module.__name__.removeprefix('unit.')}::{item.name}"
        for names, mark in ((DIFFERENT, _differs), (LEFT_OUT, pytest.mark.skip)):
            for key in (name, name.partition("[")[0]):
                if key in names:
                    item.add_marker(mark(reason=names[key]))
                    unused.discard(key)
    if unused:
        raise pytest.UsageError(f"there are no such tests: {sorted(unused)}")


def _differs(*, reason: str) -> pytest.MarkDecorator:
    return pytest.mark.xfail(reason=reason, strict=True)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Writes how many of each unit passed, differ and were left out."""
    tally: dict[str, Counter[str]] = {}
    for outcome in ("passed", "xfailed", "skipped", "failed", "error"):
        for report in terminalreporter.stats.get(outcome, []):
            unit = Path(report.nodeid.partition("::")[0]).stem
            tally.setdefault(unit, Counter())[outcome] += 1
    Path(os.environ[TALLY_VARIABLE]).write_text(json.dumps(tally))
