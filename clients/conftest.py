"""Servers for the clients, and what became of each client."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING

import pytest

from .serving import running, write_tiny_trio

if TYPE_CHECKING:
    from collections.abc import Iterator

    from _pytest.terminal import TerminalReporter

CLIENT = pytest.StashKey[str]()
OUTCOMES = ("passed", "failed", "skipped")


@pytest.fixture(scope="session")
def flags(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Of a server of tiny models."""
    return write_tiny_trio(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="session")
def url(flags: list[str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where a server of tiny models answers."""
    with running(flags, tmp_path_factory.mktemp("server") / "log") as found:
        yield found


def pytest_terminal_summary(terminalreporter: TerminalReporter) -> None:
    """Client by client."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for outcome in OUTCOMES:
        for report in terminalreporter.stats.get(outcome, []):
            counts[dict(report.user_properties).get("client", "")][outcome] += 1
    terminalreporter.section("client by client")
    width = max(map(len, counts), default=0)
    for client, found in sorted(counts.items()):
        told = ", ".join(f"{found[outcome]} {outcome}" for outcome in OUTCOMES if found[outcome])
        terminalreporter.write_line(f"{client:{width}}  {told}")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Each test module says whose client it is about."""
    for item in items:
        if isinstance(item, pytest.Function):
            item.user_properties.append(("client", getattr(item.module, "CLIENT", "")))
