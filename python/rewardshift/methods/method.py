"""What a method is, and what it gives."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rewardshift.decoder import Decoder
    from rewardshift.results import FinishReason

    from .question import Question


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A method's response to one prompt, and what it took.

    Attributes:
        text: The response, without the token that ended it.
        tokens: Its token ids, with the end-of-generation token if that ended it.
        finish_reason: "stop" for an end-of-generation token, "length" for the limit.
        seconds: Wall time from the question to the answer, rewards included.
        evaluated: Tokens that the models of "target", "draft" and "reference" evaluated (with
            several shifts by the names of ``Decoder.work``), discarded candidates and prompts
            included, what their caches answered for not; and "reward", the texts that were scored.
            A role without a model of its own is missing.
        calls: Batches those models evaluated, and calls of the reward.
        target_logprobs: log p of each token of the response at temperature 1; empty where not
            known.
        goal_logprobs: Of each token under the law that it alone was drawn from; empty where the
            method has no such law, because it chose among whole pieces.
        drafted: Tokens that a cheaper model proposed.
        accepted: Of these, the ones that became part of the response.
        acceptance_by_position: As in ``rewardshift.Statistics``; empty where there is nothing like
            it.
        log_z: log Z_s at each token; empty without a shift.
        details: What else the method counted, by name.
    """

    text: str
    tokens: tuple[int, ...]
    finish_reason: FinishReason
    seconds: float
    evaluated: Mapping[str, int]
    calls: Mapping[str, int]
    target_logprobs: tuple[float, ...] = ()
    goal_logprobs: tuple[float, ...] = ()
    drafted: int = 0
    accepted: int = 0
    acceptance_by_position: tuple[float, ...] = ()
    log_z: tuple[float, ...] = ()
    details: Mapping[str, float] = field(default_factory=dict)


class Method(Protocol):
    """A way to answer a prompt with the models of a decoder."""

    @property
    def name(self) -> str:
        """Short, and another for other parameters."""
        ...

    def answer(self, decoder: Decoder, question: Question) -> Answer:
        """Answers a question. The same seed gives the same answer.

        Args:
            decoder: Whose models to use; it has no other request under way.
            question: What to answer, and how.

        Raises:
            ValueError: Where the decoder lacks a role that the method needs.
        """
        ...
