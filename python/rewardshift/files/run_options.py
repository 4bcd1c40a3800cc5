"""The options that a run was begun with: what was done with some does not go on with others."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from .atomic import replacing

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from pathlib import Path


def require_same(now: Mapping[str, Any], before: Mapping[str, Any], where: Path) -> None:
    """Raises ValueError, naming the first that differs, unless all options are as before."""
    for name, value in now.items():
        if before.get(name) != value:
            raise ValueError(
                f"{where} was begun with {name} = {before.get(name)}, not {value}: other options "
                "need another place, or delete it to begin anew"
            )


def keep_options(path: Path, options: Mapping[str, Any], *, may_change: Collection[str]) -> None:
    """Writes the options of a run as JSON, after comparing them with what is there.

    Args:
        path: In the run's folder.
        options: By name; what JSON can say.
        may_change: Names of those that only say how far to go.

    Raises:
        ValueError: If another option differs from the run's.
    """
    now = json.loads(json.dumps(dict(options)))
    if path.exists():
        before = json.loads(path.read_text(encoding="utf-8"))
        require_same({k: v for k, v in now.items() if k not in may_change}, before, path.parent)
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as fresh:
        fresh.write_text(json.dumps(now, indent=2) + "\n", encoding="utf-8")
