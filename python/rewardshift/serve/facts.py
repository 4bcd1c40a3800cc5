"""What a server knows of its models, once they are loaded."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import PurePath
from typing import TYPE_CHECKING

from .tools.skill import ToolSkill

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rewardshift.decoder import Decoder
    from rewardshift.shifts import Shift


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """Of one decoder; they do not change.

    Attributes:
        file: Name of the target's file; empty of models that are no files.
        chat_template: Of the target's own file.
        context_size: Tokens that all requests under way hold together.
        places: Requests that are decoded at the same time.
        end_of_generation: Ids that end an answer.
        shifts: By name.
        readers: Models that read, as ``Decoder.work`` names them.
        pieces: The bytes that each token adds to a text.
        names: What each token without such bytes is called.
        skill: What the target can do with tools.
    """

    file: str
    chat_template: str | None
    context_size: int
    places: int
    end_of_generation: frozenset[int]
    shifts: dict[str, Shift]
    readers: tuple[str, ...]
    pieces: tuple[bytes, ...]
    names: dict[int, str]
    skill: ToolSkill = field(default_factory=ToolSkill)

    @classmethod
    def of(cls, decoder: Decoder) -> Facts:
        """Asks the decoder, which must be at hand."""
        files = decoder.files
        pieces = tuple(map(decoder.piece, range(decoder.vocab_size)))
        silent = [token for token, piece in enumerate(pieces) if not piece]
        return cls(
            file=PurePath(files["target"]).name if files else "",
            chat_template=decoder.chat_template,
            context_size=decoder.context_size,
            places=decoder.places,
            end_of_generation=frozenset(decoder.end_of_generation),
            shifts=decoder.shifts,
            readers=tuple(decoder.work),
            pieces=pieces,
            names={token: decoder.detokenize([token], special=True) for token in silent},
            skill=ToolSkill.of(decoder),
        )

    def showing(self, visible: Mapping[int, bytes]) -> Facts:
        """The same where these tokens are text as well."""
        if not visible:
            return self
        pieces = list(self.pieces)
        for token, piece in visible.items():
            pieces[token] = piece
        return replace(self, pieces=tuple(pieces))

    @property
    def can_draft(self) -> bool:
        """Whether there is a model beside the target."""
        return len(self.readers) > 1

    def text_of(self, token: int) -> str:
        """What a token adds to a text; a partial character shows as U+FFFD."""
        return self.pieces[token].decode(errors="replace")

    def name_of(self, token: int) -> str:
        r"""What a token is called where tokens are told apart.

        Control tokens as they are spelled; bytes that are no text in OpenAI's way, ``bytes:\xe2``.
        """
        piece = self.pieces[token]
        if not piece:
            return self.names[token]
        try:
            return piece.decode()
        except UnicodeDecodeError:
            return "bytes:" + "".join(f"\\x{byte:02x}" for byte in piece)
