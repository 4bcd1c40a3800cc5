"""Measuring decoding: ways side by side in one run, as ratios with their spread.

``rewardshift bench`` measures a user's own models with it, the scripts in ``benchmarks/`` what
needs more than that. It decodes through the public ``Decoder`` only.
"""

from __future__ import annotations

from .concurrency import ConcurrencyReport, measure_concurrency
from .interleave import interleave
from .memory import MemoryReport, measure_memory
from .paired import PairedReport, measure_pairs
from .plot import require_matplotlib, save_plot
from .sample import Sample, Task, one_by_one, together
from .speed import ADAPTIVE, TARGET_ONLY, THREE_MODELS, SpeedReport, measure_speed
from .spread import Range, ratios
from .table import table
from .workload import PROMPTS, endless

__all__ = [
    "ADAPTIVE",
    "PROMPTS",
    "TARGET_ONLY",
    "THREE_MODELS",
    "ConcurrencyReport",
    "MemoryReport",
    "PairedReport",
    "Range",
    "Sample",
    "SpeedReport",
    "Task",
    "endless",
    "interleave",
    "measure_concurrency",
    "measure_memory",
    "measure_pairs",
    "measure_speed",
    "one_by_one",
    "ratios",
    "require_matplotlib",
    "save_plot",
    "table",
    "together",
]
