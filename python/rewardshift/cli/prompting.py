"""What is asked, as flags and arguments: system messages, templates, text from stdin."""

import sys
from dataclasses import dataclass
from typing import Annotated

import typer

from rewardshift.chat.messages import Message, with_system
from rewardshift.decoder import Decoder

from .naming import Called
from .options import option

_PROMPT = "Prompt"


@dataclass(frozen=True, kw_only=True)
class SystemFlags:
    """The system messages."""

    system: Annotated[
        str | None, option("--system", panel=_PROMPT, text="System message for all models.")
    ] = None
    draft_system: Annotated[
        str | None,
        option("--draft-system", panel=_PROMPT, text="For the draft alone: shifts by prompt."),
        Called("draft_prompt"),
    ] = None

    @property
    def any(self) -> bool:
        """Whether there is one."""
        return self.system is not None or self.draft_system is not None

    def conversation(self, text: str) -> list[Message]:
        """The messages of a conversation that opens with the user's text."""
        messages: list[Message] = [{"role": "user", "content": text}]
        return messages if self.system is None else with_system(messages, self.system)


@dataclass(frozen=True, kw_only=True)
class PromptFlags(SystemFlags):
    """How text becomes a prompt."""

    chat: Annotated[
        bool,
        option(
            "--chat",
            panel=_PROMPT,
            text="Put the prompt into the model's chat template, as a system message does anyway.",
        ),
    ] = False
    raw: Annotated[
        bool,
        option(
            "--raw",
            panel=_PROMPT,
            text="Give the prompt as it is, as is done without a system message anyway.",
        ),
    ] = False

    def __post_init__(self) -> None:
        """Refuses what cannot be both."""
        if self.chat and self.raw:
            raise ValueError("--chat and --raw contradict each other: choose one")
        if self.raw and self.any:
            raise ValueError("--system and --draft-system need the chat template: not --raw")

    def prompts(self, decoder: Decoder, text: str) -> tuple[list[int], list[int] | None]:
        """The target's prompt and, where it differs, the draft's."""
        if self.chat or self.any:
            return decoder.chat_prompts(self.conversation(text), draft_system=self.draft_system)
        return decoder.tokenize(text), None


Prompt = Annotated[
    str | None,
    typer.Argument(
        help="The prompt, behind -- if it begins with a dash; - reads it from stdin, as does "
        "leaving it out there.",
        show_default=False,
    ),
]


def read_prompt(prompt: str | None) -> str:
    """The prompt given, or stdin's text without its last line feed.

    Raises:
        ValueError: If there is none, or it is not UTF-8.
    """
    if prompt is not None and prompt != "-":
        return prompt
    if prompt is None and sys.stdin.isatty():
        raise ValueError("there is no prompt: give one, or - to read it from stdin")
    return read_stdin()


def read_stdin() -> str:
    """All of stdin's text, without its last line feed."""
    try:
        text = sys.stdin.buffer.read().decode("utf-8-sig")  # Windows' shells begin with that mark
        return text.removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError as error:
        raise ValueError(f"stdin is not UTF-8 text: {error}") from None
