"""Conversations in requests, and what the models read of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rewardshift.serve.errors import wrong
from rewardshift.serve.tools.use import as_templates_read

from .base import Fields

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from rewardshift.decoder import Decoder
    from rewardshift.serve.settings import Settings
    from rewardshift.text.chat_prompt import ChatPrompt


def conversation_read(
    decoder: Decoder,
    messages: Iterable[Mapping[str, Any]],
    *,
    tools: Sequence[Mapping[str, Any]] | None = None,
    chat_template_kwargs: Mapping[str, Any] | None = None,
    begun: Sequence[int] = (),
) -> tuple[ChatPrompt, dict[str, Any] | None]:
    """What the target reads, and by shift what drafts read that see another system message.

    Args:
        decoder: Whose models they are.
        messages: As they were sent.
        tools: What the template is to offer.
        chat_template_kwargs: What else it is to know.
        begun: Tokens that the answer begins with.
    """
    prompt, drafts = decoder.chat_prompts_by_shift(
        as_templates_read(messages, decoder.chat_template or ""),
        tools=tools,
        chat_template_kwargs=chat_template_kwargs,
    )
    own = {name: [*ids, *begun] for name, ids in drafts.items()}
    return prompt.followed_by(begun), own or None


class ConversationFields(Fields):
    """A conversation in a request that asks for no answer to it."""

    messages: list[dict[str, Any]] | None = None
    tools: list[dict[str, Any]] | None = None
    add_generation_prompt: bool | None = None
    chat_template_kwargs: dict[str, Any] | None = None

    def check_conversation(self, settings: Settings) -> None:
        """Raises ApiError for what no server renders."""
        self.require_known(settings)
        if self.messages is not None and len(self.messages) > settings.max_messages:
            raise wrong(f"{settings.max_messages} messages at most", "messages")
        if (self.model_extra or {}).get("chat_template") is not None:
            raise wrong(
                "a request may not bring its own chat template: it is a program", "chat_template"
            )

    def read(self, decoder: Decoder) -> tuple[ChatPrompt, dict[str, Any] | None]:
        """What the models read of it, as ``conversation_read`` tells it."""
        more = dict(self.chat_template_kwargs or {})
        if self.add_generation_prompt is not None:
            more["add_generation_prompt"] = self.add_generation_prompt
        return conversation_read(
            decoder, self.messages or [], tools=self.tools, chat_template_kwargs=more
        )
