"""Writes what became of llama.cpp's tests into docs/serve-compatibility.md, where its markers are.

``python -m clients.llama_server.page`` does so after a run.
"""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path

from .differences import DIFFERENT, LEFT_OUT, UNITS

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "serve-compatibility.md"
TALLY = ROOT / "build" / "clients" / "llama-server" / "tally.json"
BEGIN, END = "<!-- llama.cpp's tests: begin -->\n", "<!-- llama.cpp's tests: end -->\n"


def rendered() -> str:
    """The page as the list and the last run have it."""
    before, rest = PAGE.read_text(encoding="utf-8").split(BEGIN)
    _, after = rest.split(END)
    return "".join([before, BEGIN, _units(), "\n", _reasons(), END, after])


def _units() -> str:
    tally = json.loads(TALLY.read_text(encoding="utf-8"))
    rows = ["| unit | pass | differ, or are left out |", "|---|---|---|"]
    for unit in UNITS:
        passed = tally[unit].get("passed", 0)
        others = sum(tally[unit].values()) - passed
        rows.append(f"| {_plain(unit)} | {passed} | {others or ''} |")
    return "\n".join(rows) + "\n"


def _reasons() -> str:
    by_reason: dict[str, list[str]] = defaultdict(list)
    for test, reason in (DIFFERENT | LEFT_OUT).items():
        unit, _, name = test.partition("::")
        told = f"{_plain(unit)}: {_plain(name.partition('[')[0])}"
        if told not in by_reason[reason]:
            by_reason[reason].append(told)
    rows = ["| what differs | tests |", "|---|---|"]
    rows += [f"| {reason} | {', '.join(tests)} |" for reason, tests in by_reason.items()]
    return "\n".join(rows) + "\n"


def _plain(name: str) -> str:
    return name.removeprefix("test_").replace("_", " ")


if __name__ == "__main__":
    PAGE.write_text(rendered(), encoding="utf-8")
