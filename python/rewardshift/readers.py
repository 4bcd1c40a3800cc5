"""Who reads what: every shift, file and adapter of a decoder comes down to readers and pairs."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar

from . import _core
from .boundary import require_whole, shown

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

Values = TypeVar("Values", float, "NDArray[np.float64]")
"""Of a token, or of several."""

Source = TypeVar("Source")
"""What evaluates: a loaded file, or a model that is none."""

ReaderRole = Literal["target", "draft", "reference", "head", "base"]


@dataclass(frozen=True, slots=True)
class Lora:
    """An adapter that makes a draft of its model: a GGUF file, and a factor on it."""

    path: str
    scale: float


@dataclass(frozen=True, slots=True)
class Pair(Generic[Source]):
    """What a shift is made of: a draft and its reference, or a head on the target's features.

    Attributes:
        draft: What evaluates the draft; of a head, what tells the features, or evaluates the head.
        reference: None of a head.
        strength: Its default.
        lora: What makes the draft of its model.
        head: What reads the features.
    """

    draft: Source
    reference: Source | None
    strength: float = 1.0
    lora: Lora | None = None
    head: _core.ShiftHead | None = None


@dataclass(frozen=True, slots=True)
class Reader(Generic[Source]):
    """One model that reads one version of the conversation.

    Attributes:
        name: For errors and results.
        role: What it is to the shifts; a base only drafts.
        source: What evaluates; readers of one source share its weights.
        lora: What is added to them.
        head: What reads the source's features in place of its logits: a shift's, or a base.
        vocabulary: What the target's tokens are in its own vocabulary; None where that is the
            target's.
    """

    name: str
    role: ReaderRole
    source: Source
    lora: Lora | None = None
    head: _core.ShiftHead | _core.BaseHead | None = None
    vocabulary: _core.VocabularyMap | None = None


@dataclass(frozen=True, slots=True)
class ShiftReaders:
    """A shift, as the core knows it: readers by number, and a default strength.

    Attributes:
        draft: Its draft, or its head.
        reference: None of a head.
        strength: Where a request names none.
    """

    draft: int
    reference: int | None
    strength: float

    @property
    def readers(self) -> tuple[int, ...]:
        """Whom it asks."""
        return (self.draft,) if self.reference is None else (self.draft, self.reference)

    def log_ratio(self, by_reader: Sequence[Values]) -> Values:
        """What it says of a token, of what readers say: log q - log r; a head says that itself."""
        if self.reference is None:
            return by_reader[self.draft]
        return by_reader[self.draft] - by_reader[self.reference]


@dataclass(frozen=True, slots=True)
class Panel(Generic[Source]):
    """All readers of a decoder, the target first, and what they are to each other.

    Attributes:
        readers: In the core's order.
        shifts: By name, in the core's order.
        base: The reader, by number, that drafts apart from all shifts.
        refined_tokens: How many of the target's most probable tokens readers of other vocabularies
            weigh by all of their pieces; see ``rewardshift._core.DecoderOptions``.
    """

    readers: tuple[Reader[Source], ...]
    shifts: Mapping[str, ShiftReaders] = field(default_factory=dict)
    base: int | None = None
    refined_tokens: int = _core.DecoderOptions().refined_tokens

    @property
    def names(self) -> tuple[str, ...]:
        """The readers'."""
        return tuple(reader.name for reader in self.readers)

    @property
    def only_shift(self) -> ShiftReaders | None:
        """The shift, where there is just one."""
        return next(iter(self.shifts.values())) if len(self.shifts) == 1 else None

    @property
    def draft(self) -> int | None:
        """Whom "the draft" means: that of the only shift, or the model that drafts without one."""
        if not self.shifts:
            is_model = self.base is not None and self.readers[self.base].head is None
            return self.base if is_model else None
        only = self.only_shift
        return None if only is None or only.reference is None else only.draft

    @property
    def reference(self) -> int | None:
        """Whom "the reference" means: that of the only shift."""
        return None if self.only_shift is None else self.only_shift.reference

    def at_strengths(self, strengths: Mapping[str, float]) -> Panel[Source]:
        """The same with other defaults, by shift."""
        shifts = {n: replace(shift, strength=strengths[n]) for n, shift in self.shifts.items()}
        return replace(self, shifts=shifts)

    def refining(self, refined_tokens: int | None) -> Panel[Source]:
        """The same, weighing so many tokens by all of their pieces; None is the default.

        Raises:
            TypeError: If it is no whole number.
            ValueError: If it is out of range.
        """
        if refined_tokens is None:
            return self
        require_whole(refined_tokens=refined_tokens)
        if not 0 <= refined_tokens <= _MOST_REFINED:
            raise ValueError(
                f"refined_tokens must be between 0 and {_MOST_REFINED}, not {shown(refined_tokens)}"
            )
        return replace(self, refined_tokens=refined_tokens)

    def decoder(
        self, models: Mapping[str, _core.LanguageModel], options: _core.DecoderOptions | None = None
    ) -> _core.Decoder:
        """The core's decoder with these readers.

        Args:
            models: What evaluates each reader, by its name.
            options: How requests are scheduled.
        """
        options = options or _core.DecoderOptions()
        options.refined_tokens = self.refined_tokens
        return _core.Decoder(
            [(name, models[name]) for name in self.names],
            [
                _core.Shift(name, shift.draft, shift.reference, shift.strength)
                for name, shift in self.shifts.items()
            ],
            self.base,
            options,
        )


_MOST_REFINED = 2**20
"""More than any vocabulary has tokens."""

AnyPanel = Panel[Any]
"""Whatever evaluates."""


def panel_of(
    target: Source, pairs: Mapping[str, Pair[Source]], base: Reader[Source] | None
) -> Panel[Source]:
    """The readers that a target, its shifts and a base need.

    Shifts of one reference share its reader. A base that is some shift's reference is that reader.

    Args:
        target: What is sampled from.
        pairs: The shifts, by name.
        base: What drafts apart from them, as it would be a reader of its own.
    """
    readers: list[Reader[Source]] = [Reader("target", "target", target)]
    is_one = len(pairs) == 1
    for name, pair in pairs.items():
        role: ReaderRole = "head" if pair.reference is None else "draft"
        own = role if is_one else f"{name} shift"
        readers.append(Reader(own, role, pair.draft, pair.lora, pair.head))
    references: list[Source] = []
    for pair in pairs.values():
        if pair.reference is not None and not any(pair.reference is known for known in references):
            references.append(pair.reference)
    for reference in references:
        users = [name for name, pair in pairs.items() if pair.reference is reference]
        own = "reference" if len(references) == 1 else f"reference of {' and '.join(users)}"
        readers.append(Reader(own, "reference", reference))

    def number_of(reference: Source) -> int | None:
        of_references = range(1 + len(pairs), 1 + len(pairs) + len(references))
        return next((i for i in of_references if readers[i].source is reference), None)

    shifts = {}
    for number, (name, pair) in enumerate(pairs.items(), start=1):
        reference_number = None if pair.reference is None else number_of(pair.reference)
        shifts[name] = ShiftReaders(number, reference_number, pair.strength)
    base_number = None if base is None or base.head is not None else number_of(base.source)
    if base is not None and base_number is None:
        base_number = len(readers)
        readers.append(base)
    return Panel(tuple(readers), shifts, base_number)
