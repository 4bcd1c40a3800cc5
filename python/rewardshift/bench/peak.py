"""``python -m rewardshift.bench.peak``: the process whose memory is measured.

It reads what to do as JSON from stdin, and writes what that took as JSON to stdout.
"""

from __future__ import annotations

import json
import logging
import re
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rewardshift.decoder import Decoder
from rewardshift.shifts import Shift

from .memory import MemorySample

if TYPE_CHECKING:
    from collections.abc import Mapping

_BUFFER = re.compile(r"(KV|compute|output|CPU_REPACK model) buffer size =\s*([\d.]+) MiB")
_MEBI = 1 << 20


class _BufferLog(logging.Handler):
    """Adds up what llama.cpp says it allocates."""

    def __init__(self) -> None:
        """Nothing yet."""
        super().__init__()
        self.buffers: dict[str, int] = {}

    def emit(self, record: logging.LogRecord) -> None:
        """Notes the record if it tells of a buffer."""
        if found := _BUFFER.search(record.getMessage()):
            kind, size = found[1], round(float(found[2]) * _MEBI)
            self.buffers[kind] = self.buffers.get(kind, 0) + size


def _obey(order: Mapping[str, Any]) -> MemorySample:
    log = _BufferLog()
    logger = logging.getLogger("rewardshift.llama")
    logger.addHandler(log)
    logger.setLevel(logging.DEBUG)
    start = _peak()
    shifts = {name: Shift(**shift) for name, shift in order["shifts"].items()}
    with Decoder(**order["decoder"], shifts=shifts or None, progress=False) as decoder:
        decoder.generate(
            order["prompt"], draft_prompt=order["draft_prompt"], max_tokens=order["max_tokens"]
        )
        return MemorySample(start, _peak(), log.buffers)


def _peak() -> int:
    """Most bytes that this process ever had resident."""
    status = Path("/proc/self/status")
    if status.exists():  # Linux, whose getrusage would count the parent's memory before exec
        line = next(x for x in status.read_text().splitlines() if x.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


if __name__ == "__main__":
    sys.stdout.write(json.dumps(asdict(_obey(json.load(sys.stdin)))))
