"""Conversations, which each model reads in its own chat template."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rewardshift.shifts import CLASSIC

from .opened import Opened
from .prompts import GivenPrompts

if TYPE_CHECKING:
    from collections.abc import Mapping

    from typing_extensions import Unpack

    from rewardshift.chat.messages import Messages, Tools
    from rewardshift.engine.engine import Stream
    from rewardshift.options import SamplingOptions
    from rewardshift.results import Completion
    from rewardshift.text.chat_prompt import ChatPrompt

    from .prompts import DraftPrompt


class Conversing(Opened):
    """What every ``Decoder`` answers conversations with; not made by itself."""

    def chat(
        self,
        messages: Messages,
        *,
        draft_system: str | None = None,
        tools: Tools | None = None,
        chat_template_kwargs: Mapping[str, Any] | None = None,
        **options: Unpack[SamplingOptions],
    ) -> Completion:
        """Answers a conversation, rendered by the target's own chat template.

        A model of another vocabulary reads it in its own. What messages say is text: control tokens
        that they spell are not recognised.

        Args:
            messages: Any iterable of ``Message``: ``{"role": ..., "content": ...}`` each.
            draft_system: The system message that only the draft of the one shift there is sees, to
                shift by prompt; unless given, each ``Shift``'s own.
            tools: What the model may call, as JSON schemas, for the template.
            chat_template_kwargs: What else the template is to know, by name.
            **options: As in ``rewardshift.options.SamplingOptions``.

        Raises:
            ChatTemplateError: If the target, or a model of another vocabulary, has no chat
                template, or it refuses the messages.
        """
        target, drafts = self.chat_prompts_by_shift(
            messages,
            draft_system=draft_system,
            tools=tools,
            chat_template_kwargs=chat_template_kwargs,
        )
        request = self._requests.submit(GivenPrompts(target, self._of_drafts(drafts)), options)
        return self._engine.finish([request])[0]

    def stream_chat(
        self,
        messages: Messages,
        *,
        draft_system: str | None = None,
        tools: Tools | None = None,
        chat_template_kwargs: Mapping[str, Any] | None = None,
        **options: Unpack[SamplingOptions],
    ) -> Stream:
        """Like ``chat``, but yields each step's chunk; the last one has the completion."""
        target, drafts = self.chat_prompts_by_shift(
            messages,
            draft_system=draft_system,
            tools=tools,
            chat_template_kwargs=chat_template_kwargs,
        )
        request = self._requests.submit(GivenPrompts(target, self._of_drafts(drafts)), options)
        return self._engine.follow(request)

    def chat_prompts(
        self,
        messages: Messages,
        *,
        draft_system: str | None = None,
        tools: Tools | None = None,
        chat_template_kwargs: Mapping[str, Any] | None = None,
    ) -> tuple[ChatPrompt, list[int] | None]:
        """What ``chat`` submits: the target's prompt, and the draft's if it sees another one.

        Arguments and errors as ``chat``. The target's prompt knows what models of other
        vocabularies see of the conversation: give it as it is, or with ids appended to it.

        Raises:
            ValueError: Also where there are several shifts: see ``chat_prompts_by_shift``.
        """
        target, drafts = self.chat_prompts_by_shift(
            messages,
            draft_system=draft_system,
            tools=tools,
            chat_template_kwargs=chat_template_kwargs,
        )
        if drafts and len(self._shifts) > 1:
            raise ValueError(
                f"chat_prompts is for one shift, and here are {', '.join(self._shifts)}"
            )
        return target, next(iter(drafts.values()), None)

    def chat_prompts_by_shift(
        self,
        messages: Messages,
        *,
        draft_system: str | None = None,
        tools: Tools | None = None,
        chat_template_kwargs: Mapping[str, Any] | None = None,
    ) -> tuple[ChatPrompt, dict[str, list[int]]]:
        """The same with a prompt for each draft that sees another one, by the shift's name.

        ``generate`` takes them as ``prompt`` and ``draft_prompt``.
        """
        panel = self._engine.panel
        return self._prompts.of_messages(
            messages,
            draft_systems=self._draft_systems(draft_system),
            drafts={name: panel.names[shift.draft] for name, shift in panel.shifts.items()},
            tools=tools,
            chat_template_kwargs=chat_template_kwargs,
        )

    def _of_drafts(self, prompts: dict[str, list[int]]) -> DraftPrompt | None:
        """These as ``draft_prompt``; a decoder without shifts says what it thinks of them."""
        if self._shifts:
            return prompts or None
        return next(iter(prompts.values()), None)

    def _draft_systems(self, given: str | None) -> dict[str, str]:
        """The system messages that only drafts see, by shift."""
        if given is None:
            own = {name: shift.draft_system for name, shift in self._shifts.items()}
            return {name: system for name, system in own.items() if system is not None}
        if len(self._shifts) > 1:
            raise ValueError(
                f"draft_system is for one shift, and here are {', '.join(self._shifts)}: give each "
                "Shift its own"
            )
        return {next(iter(self._shifts), CLASSIC): given}
