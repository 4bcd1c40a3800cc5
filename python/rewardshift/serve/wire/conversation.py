"""A conversation in a request that asks for no answer to it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rewardshift.serve.errors import wrong
from rewardshift.serve.tools.use import with_arguments_read

from .base import Fields

if TYPE_CHECKING:
    from rewardshift.decoder import Decoder
    from rewardshift.serve.settings import Settings
    from rewardshift.text.chat_prompt import ChatPrompt


class ConversationFields(Fields):
    """What the chat template is given."""

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

    def prompts(self, decoder: Decoder) -> tuple[ChatPrompt, dict[str, list[int]]]:
        """What the models read of it: the target, and drafts that see another system message."""
        asks = True if self.add_generation_prompt is None else self.add_generation_prompt
        return decoder.chat_prompts_by_shift(
            with_arguments_read(self.messages or []),
            tools=self.tools,
            chat_template_kwargs={
                "add_generation_prompt": asks,
                **(self.chat_template_kwargs or {}),
            },
        )
