"""Peak memory of decoding, in a process of its own, against what the files and caches need."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rewardshift.errors import Error

from .interleave import interleave
from .spread import Range
from .table import table

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rich.table import Table

    from rewardshift.shifts import Shift

    from .sample import Task

_FILE_ROLES = ("target", "draft", "reference", "draft_lora", "base")
_FILES_OF_SHIFTS = ("draft", "reference", "lora")
_CHILD = "rewardshift.bench.peak"


@dataclass(frozen=True, slots=True)
class MemorySample:
    """Bytes of one process.

    Attributes:
        start: Resident before loading: the interpreter and the package.
        peak: Most ever resident, pages of mapped files included.
        buffers: What llama.cpp says it allocated, by kind: "KV", "compute", "output" and, where
            weights are stored again in another order, "CPU_REPACK model".
    """

    start: int
    peak: int
    buffers: dict[str, int]


@dataclass(frozen=True, slots=True)
class MemoryReport:
    """Peak memory of loading and decoding, in fresh processes.

    Attributes:
        files: Bytes of the distinct files.
        samples: One a repetition.
    """

    files: int
    samples: list[MemorySample]

    @property
    def needed(self) -> int:
        """Bytes of the distinct files and of all roles' KV caches."""
        return self.files + self.samples[0].buffers.get("KV", 0)

    @property
    def ratio(self) -> Range:
        """Peak memory, the interpreter included, over what is needed."""
        return Range.of([sample.peak / self.needed for sample in self.samples])

    @property
    def ratio_without_start(self) -> Range:
        """The same without what was resident before loading."""
        return Range.of([(sample.peak - sample.start) / self.needed for sample in self.samples])

    def tables(self) -> list[Table]:
        """Bytes in MB (10⁶), then the ratios."""
        buffers = self.samples[0].buffers
        rows = [
            ("distinct files", _megabytes([self.files])),
            ("KV caches", _megabytes([buffers.get("KV", 0)])),
            ("peak of the process", _megabytes([sample.peak for sample in self.samples])),
            ("  before loading", _megabytes([sample.start for sample in self.samples])),
            *(
                (f"  {kind} buffers", _megabytes([n]))
                for kind, n in buffers.items()
                if kind != "KV"
            ),
            ("peak ÷ (files + KV)", f"{self.ratio:.2f}"),
            ("  less what was there before loading", f"{self.ratio_without_start:.2f}"),
        ]
        note = "A fresh process that loads and decodes; pages of mapped files count as resident."
        return [table("memory", ["what", "MB"], rows, note=note)]

    def as_object(self) -> dict[str, object]:
        """Bytes, and the ratios."""
        return {
            "files": self.files,
            "needed": self.needed,
            "ratio": asdict(self.ratio),
            "ratio_without_start": asdict(self.ratio_without_start),
            "samples": [asdict(sample) for sample in self.samples],
        }


def _megabytes(values: list[int]) -> str:
    spread = Range.of([value / 1e6 for value in values])
    return f"{spread.median:.1f}" if len(set(values)) == 1 else f"{spread:.1f}"


def measure_memory(
    arguments: Mapping[str, Any], task: Task, *, max_tokens: int, repeat: int
) -> MemoryReport:
    """Loads and decodes in fresh processes.

    Args:
        arguments: Of ``Decoder``.
        task: What to decode.
        max_tokens: Of it.
        repeat: Processes that count.

    Raises:
        Error: If such a process failed.
    """
    shifts = {name: _as_object(shift) for name, shift in (arguments.get("shifts") or {}).items()}
    named = [arguments.get(role) for role in _FILE_ROLES]
    named += [shift[part] for shift in shifts.values() for part in _FILES_OF_SHIFTS]
    files = {os.path.realpath(file) for file in named if file}
    order = json.dumps(
        {
            "decoder": {
                name: str(value) if name in _FILE_ROLES else value
                for name, value in arguments.items()
                if name != "shifts"
            },
            "shifts": shifts,
            "prompt": task.prompt,
            "draft_prompt": task.draft_prompt,
            "max_tokens": max_tokens,
        }
    )
    samples = interleave({"peak": lambda: _in_child(order)}, repeat=repeat, what="memory")["peak"]
    return MemoryReport(sum(Path(file).stat().st_size for file in files), samples)


def _as_object(shift: Shift) -> dict[str, Any]:
    """A shift as JSON has it: the arguments that make it."""
    found = {field.name: getattr(shift, field.name) for field in fields(shift)}
    return {
        name: str(value) if name in _FILES_OF_SHIFTS and value is not None else value
        for name, value in found.items()
    }


def _in_child(order: str) -> MemorySample:
    child = subprocess.run(  # noqa: S603 - our own interpreter
        [sys.executable, "-m", _CHILD], input=order, capture_output=True, text=True, check=False
    )
    if child.returncode != 0:
        last = child.stderr.strip().splitlines()[-1:]
        raise Error(f"the process whose memory is measured failed: {' '.join(last)}")
    return MemorySample(**json.loads(child.stdout))
