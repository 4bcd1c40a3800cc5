"""Large buffers are in huge pages, where the system gives them to those who ask."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.engine import SANITIZED, open_context

if TYPE_CHECKING:
    from tests.conftest import Files

MAPPING = re.compile(r"^[0-9a-f]+-[0-9a-f]+ .*$", re.MULTILINE)


def kilobytes_asked_for() -> int:
    """Of this process, that it wants in huge pages."""
    text = Path("/proc/self/smaps").read_text()
    parts = MAPPING.split(text)[1:]
    asked = [part for part in parts if re.search(r"^VmFlags:.*\bhg\b", part, re.MULTILINE)]
    return sum(int(re.search(r"^Size:\s+(\d+) kB", part, re.MULTILINE)[1]) for part in asked)  # type: ignore[index]


def system_tells() -> bool:
    """Whether it has huge pages, and says who asked for them."""
    smaps = Path("/proc/self/smaps")
    has_them = Path("/sys/kernel/mm/transparent_hugepage/enabled").exists()
    return has_them and smaps.exists() and "VmFlags:" in smaps.read_text()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux is asked")
@pytest.mark.skipif(SANITIZED, reason="the sanitizer's allocator is in between")
@pytest.mark.skipif(not system_tells(), reason="this kernel has none, or does not tell")
def test_large_buffers_are_asked_for_in_huge_pages_and_small_ones_are_not(files: Files) -> None:
    model = files.model()
    before = kilobytes_asked_for()
    small = open_context(model, n_ctx=256)
    assert kilobytes_asked_for() == before
    large = open_context(model, n_ctx=1 << 17)  # 32 MiB of cells
    assert kilobytes_asked_for() - before >= 32 << 10
    del small, large
