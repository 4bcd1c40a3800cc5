"""Answers of another run, to stand beside this one's: those of another draft, say."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING

from rewardshift.run_options import require_same

from .run import MAY_CHANGE, OPTIONS, SAMPLES
from .samples import read_samples

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from .samples import Sample

_MAY_DIFFER = (*MAY_CHANGE, "models")


def samples_beside(folder: Path, ours: Sequence[Sample], other: Path) -> list[Sample]:
    """What the methods of another run answered to the same prompts with the same seeds.

    Methods that did not answer all of them are left out. The other ones get the name of their
    folder, which also keeps a Best-of-N of theirs apart from ours.

    Args:
        folder: Of this run.
        ours: Its samples.
        other: The folder of the other run.

    Raises:
        ValueError: If the other run is none, none of its methods answered the same, or it differs
            in more than its models: rewards, temperature, lengths, machine.
    """
    options = [path / OPTIONS for path in (folder, other)]
    if not options[1].exists():
        raise ValueError(f"{other} is not the folder of a run: it has no {OPTIONS}")
    now, before = (json.loads(path.read_text(encoding="utf-8")) for path in options)
    require_same({k: v for k, v in now.items() if k not in _MAY_DIFFER}, before, other)
    wanted = {(sample.prompt, sample.seed) for sample in ours}
    theirs: dict[str, list[Sample]] = defaultdict(list)
    for sample in read_samples(other / SAMPLES):
        if (sample.prompt, sample.seed) in wanted:
            theirs[sample.method].append(sample)
    order = dict.fromkeys([*now["methods"], *before["methods"], *theirs])
    complete = [theirs[method] for method in order if len(theirs[method]) == len(wanted)]
    if not complete:
        raise ValueError(f"no method of {other} answered every prompt of this run with every seed")
    return [
        replace(s, method=f"{other.name}/{s.method}", name=f"{s.name} ({other.name})")
        for answers in complete
        for s in answers
    ]
