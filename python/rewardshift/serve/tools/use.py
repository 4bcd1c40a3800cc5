"""The tools of one request: what they ask of the decoder, and how its answers are read."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .grammar import grammar_of_calls
from .offer import offer_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from rewardshift.options import SamplingOptions

    from .offer import Offer
    from .parser import ToolParser
    from .skill import ToolSkill


@dataclass(frozen=True, slots=True)
class ToolUse:
    """Of one request.

    Attributes:
        skill: The model's.
        offer: What may be called; None for nothing.
    """

    skill: ToolSkill
    offer: Offer | None = None

    @classmethod
    def of(cls, skill: ToolSkill, tools: object, choice: object, parallel: object) -> ToolUse:
        """Of OpenAI's three fields.

        Raises:
            ValueError: If they are not as OpenAI has them, or ask for what the model cannot do.
            TypeError: Likewise.
        """
        offer = offer_of(tools, choice, parallel)
        if offer is not None and offer.is_must and skill.format is None:
            raise ValueError(
                "tool_choice asks for a call, and this model's chat template has no format for "
                "calls that is known here: Hermes and Qwen, Llama 3 and Mistral have"
            )
        return cls(skill, offer)

    @property
    def for_template(self) -> list[Mapping[str, Any]] | None:
        """What the chat template is to offer."""
        return None if self.offer is None else list(self.offer.tools)

    @property
    def options(self) -> SamplingOptions:
        """What the decoder is to heed, beside what else is asked."""
        form = self.skill.format
        if self.offer is None or form is None:
            return {}
        options: SamplingOptions = {"visible_tokens": list(self.skill.marks)}
        if self.offer.is_must:
            options["grammar"] = grammar_of_calls(form, self.offer)
        return options

    @property
    def visible(self) -> Mapping[int, bytes]:
        """The control tokens that are text in answers, with their spelling."""
        return self.skill.marks if self.offer is not None else {}

    def parser(self) -> ToolParser | None:
        """What reads one answer; None where all of it is content."""
        if self.offer is None or self.skill.format is None:
            return None
        return self.skill.format.parser(self.offer.names)


def as_templates_read(messages: Iterable[Any], template: str) -> list[Any]:
    """Messages as OpenAI's clients send them, in the words of a chat template.

    Calls that come back have arguments as JSON text, and templates print objects: what is an
    object's text becomes one. Who is called "developer" is the system, unless the template knows
    better.
    """
    renames = "developer" not in template
    return [_read(message, renames=renames) for message in messages]


def _read(message: Any, *, renames: bool) -> Any:  # noqa: ANN401 - whatever users put into messages
    if not isinstance(message, dict):
        return message
    found = dict(message)
    if renames and found.get("role") == "developer":
        found["role"] = "system"
    if isinstance(calls := found.get("tool_calls"), list):
        found["tool_calls"] = [_call_read(call) for call in calls]
    return found


def _call_read(call: Any) -> Any:  # noqa: ANN401 - likewise
    function = call.get("function") if isinstance(call, dict) else None
    if not isinstance(function, dict) or not isinstance(text := function.get("arguments"), str):
        return call
    try:
        arguments = json.loads(text)
    except (ValueError, RecursionError):
        return call
    if not isinstance(arguments, dict):
        return call
    return {**call, "function": {**function, "arguments": arguments}}
