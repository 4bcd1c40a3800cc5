"""A reward that remembers."""

from __future__ import annotations

import hashlib
import json
import math
from typing import TYPE_CHECKING

from rewardshift.files.json_lines import json_rows
from rewardshift.files.paths import given_path

from .reward import scores

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

    from .reward import Exchange, Reward


class CachedReward:
    """Another reward, asked once for each exchange.

    Args:
        reward: What scores. It has to say the same of the same exchange each time.
        path: File of JSON lines to remember scores in, from one run to the next; None forgets them
            with the object. It belongs to one reward: scores are found by the exchange alone.
    """

    def __init__(self, reward: Reward, path: str | os.PathLike[str] | None = None) -> None:
        """Reads what the file remembers.

        Raises:
            ValueError: If a line of the file is none of ours; it says which.
        """
        self._reward = reward
        self._path = None if path is None else given_path(path)
        self._known: dict[str, float] = {}
        if self._path is not None and self._path.exists():
            self._known = dict(_entry(where, row) for where, row in json_rows(self._path))

    def __len__(self) -> int:
        """Exchanges remembered."""
        return len(self._known)

    def __call__(self, exchanges: Sequence[Exchange]) -> list[float]:
        """Scores exchanges; the reward sees those that are new, each once, in one call."""
        keys = [_key(*exchange) for exchange in exchanges]
        fresh = {
            key: exchange
            for key, exchange in zip(keys, exchanges, strict=True)
            if key not in self._known
        }
        if fresh:
            found = scores(self._reward, list(fresh.values()))
            self._remember(dict(zip(fresh, found, strict=True)))
        return [self._known[key] for key in keys]

    def _remember(self, found: dict[str, float]) -> None:
        self._known |= found
        if self._path is None:
            return
        lines = [json.dumps({"exchange": key, "score": score}) for key, score in found.items()]
        with self._path.open("a", encoding="utf-8") as file:
            file.write("".join(f"{line}\n" for line in lines))


def _key(prompt: str, response: str) -> str:
    content = json.dumps([prompt, response])
    return hashlib.sha256(content.encode()).hexdigest()


def _entry(where: str, row: dict[str, object]) -> tuple[str, float]:
    key, score = row.get("exchange"), row.get("score")
    if not isinstance(key, str) or not isinstance(score, float) or not math.isfinite(score):
        raise ValueError(f"{where}: not a remembered score: {row}")
    return key, score
