"""What ``rewardshift inspect`` says of a head."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rewardshift import _core
from rewardshift.loading.models import name_for_core
from rewardshift.sources.hub import local_path

from .render import amount

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@dataclass(frozen=True)
class InspectedHead:
    """A file of a head, which shifts the one target that it was trained for, or drafts for it."""

    path: Path
    file: _core.HeadFile
    bytes: int

    @staticmethod
    def is_one(path: Path) -> bool:
        """Whether a file, or what a name on the hub stands for, is a head."""
        return _core.is_head_file(name_for_core(local_path(path)))

    @classmethod
    def of(cls, path: Path) -> InspectedHead:
        """Reads it."""
        file = local_path(path)
        return cls(path, _core.read_head(name_for_core(file)), file.stat().st_size)

    def misfit(self, target: _core.Model) -> str | None:
        """Why it is not for this target; None if it may be."""
        head, facts = self.file.head, target.facts
        if (head.feature_size, head.vocab_size) == (facts.embedding_size, facts.vocab_size):
            return None
        return (
            f"{self.path} is a head for a target of {head.vocab_size} tokens with features of "
            f"{head.feature_size} values, not of {facts.vocab_size} with {facts.embedding_size}"
        )

    def as_object(self) -> dict[str, object]:
        """For ``--json``."""
        head = self.file.head
        return {
            "path": str(self.path),
            "architecture": "head",
            "kind": "base" if isinstance(head, _core.BaseHead) else "shift",
            "target": self.file.target or None,
            "feature_size": head.feature_size,
            "vocab_size": head.vocab_size,
            **(
                {"hidden_size": head.hidden_size, "known_tokens": head.known}
                if isinstance(head, _core.BaseHead)
                else {"rank": head.rank}
            ),
        }

    def rows(self) -> Iterator[tuple[str, str]]:
        """What a person wants to know."""
        head = self.file.head
        drafts = isinstance(head, _core.BaseHead)
        does = (
            "drafts for its target: --base FILE"
            if drafts
            else "shifts its target: --shift NAME=FILE"
        )
        yield "what it is", f"a head, which {does}"
        if self.file.target:
            yield "made for", self.file.target
        if isinstance(head, _core.BaseHead):
            yield "features", f"{head.feature_size}, through {head.hidden_size}"
            yield "vocabulary", f"{head.vocab_size} tokens, of which it drafts {head.known}"
        else:
            yield "features", f"{head.feature_size}, through {head.rank}"
            yield "vocabulary", f"{head.vocab_size} tokens"
        yield "size", amount(self.bytes, "B")
