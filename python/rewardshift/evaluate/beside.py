"""Answers of another run, to stand beside this one's: those of another draft, say."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from rewardshift.files.paths import given_path
from rewardshift.files.run_options import require_same

from .run import MAY_CHANGE, OPTIONS, SAMPLES, SHIFT
from .samples import read_samples

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from .samples import Sample

_PAIR = ("draft", "reference", "draft_lora", "draft_lora_scale", "base")
_MAY_DIFFER = (*MAY_CHANGE, *_PAIR, "draft_system")


def samples_beside(folder: Path, ours: Sequence[Sample], other: Path) -> list[Sample]:
    """What the methods of another run answered to the same prompts with the same seeds.

    Methods that did not answer all of them are left out. The other ones get the name of their
    folder, which also keeps a Best-of-N of theirs apart from ours.

    What the two runs shift by may differ: the draft, the reference, an adapter, the draft's system
    message, shifts by name, a base.

    Args:
        folder: Of this run.
        ours: Its samples, and those of other runs that stand beside them already.
        other: The folder of the other run.

    Raises:
        ValueError: If the other run is none, has the name of this one or of one beside it already,
            differs in more than the shift (target, rewards, temperature, lengths, machine), or none
            of its methods answered the same.
    """
    folder, other = given_path(folder), given_path(other)
    label = other.resolve().name
    if label == folder.resolve().name or any(s.method.startswith(f"{label}/") for s in ours):
        raise ValueError(f"there is another run named {label}: {other} needs a name of its own")
    options = [path / OPTIONS for path in (folder, other)]
    if not options[1].exists():
        raise ValueError(f"{other} is not the folder of a run: it has no {OPTIONS}")
    now, before = (json.loads(path.read_text(encoding="utf-8")) for path in options)
    fixed = _fixed(before)
    require_same({**dict.fromkeys(fixed), **_fixed(now)}, fixed, other)
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
        replace(s, method=f"{label}/{s.method}", name=f"{s.name} ({label})")
        for answers in complete
        for s in answers
    ]


def is_beside(method: str) -> bool:
    """Whether it is the name of another run's method."""
    return "/" in method


def _fixed(options: Mapping[str, Any]) -> dict[str, Any]:
    """What two runs must have in common, by name; of the models, the target and how it is run."""
    every = {**options["models"], **options, "files": options.get("files", {}).get("target")}
    may_differ = (*_MAY_DIFFER, "models")
    return {
        name: value
        for name, value in every.items()
        if name not in may_differ and not name.startswith(f"{SHIFT} ")
    }
