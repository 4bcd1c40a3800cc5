"""``rewardshift chat``."""

import contextlib
import sys
from typing import TYPE_CHECKING

import typer

from rewardshift.decoder import Decoder
from rewardshift.errors import ContextOverflowError
from rewardshift.options import SamplingOptions

from .command import command
from .encode import completion_object, print_json
from .forms import FormFlags
from .options import LoadFlags, ResponseFlags, SamplingFlags
from .program import INTERRUPTED
from .prompting import SystemFlags, read_stdin
from .render import stderr
from .respond import respond

if TYPE_CHECKING:
    from rewardshift.chat.messages import Message
    from rewardshift.results import Completion


def add_to(app: typer.Typer) -> None:
    """Registers the command."""
    app.command()(chat)


@command
def chat(
    load: LoadFlags,
    systems: SystemFlags,
    sampling: SamplingFlags,
    form: FormFlags,
    output: ResponseFlags,
) -> None:
    """Hold a conversation; /clear starts anew, /exit or end of input ends it.

    Where stdin is no terminal, all of it is one message. Ctrl-C ends an answer early.
    """
    output.set_up_log()
    options: SamplingOptions = {**sampling.sampling(), **form.sampling()}
    output.require_shown(options)
    with load.open(branches=sampling.tree_width) as decoder:
        conversation = _Conversation(decoder, systems, options, output)
        if sys.stdin.isatty():
            _converse(conversation)
        else:
            conversation.say(_message())
    if output.json:
        print_json(conversation.as_object())
    if not sys.stdin.isatty() and conversation.was_interrupted:
        raise typer.Exit(INTERRUPTED)


class _Conversation:
    """Messages so far and the answers to them."""

    def __init__(
        self,
        decoder: Decoder,
        systems: SystemFlags,
        options: SamplingOptions,
        output: ResponseFlags,
    ) -> None:
        self._decoder = decoder
        self._systems = systems
        self._options = options
        self._output = output
        self.clear()

    def clear(self) -> None:
        self._messages: list[Message] = []
        self._completions: list[Completion] = []

    def say(self, text: str) -> None:
        """Answers a message of the user's; if that fails, it was never said."""
        asked: list[Message] = [
            *(self._messages or self._systems.conversation("")[:-1]),
            {"role": "user", "content": text},
        ]
        target, draft = self._decoder.chat_prompts(asked, draft_system=self._systems.draft_system)
        request = self._decoder.submit(target, draft_prompt=draft, **self._options)
        completion = respond(self._decoder, request, self._output)
        self._completions.append(completion)
        self._messages = [*asked, {"role": "assistant", "content": completion.text}]

    @property
    def was_interrupted(self) -> bool:
        return any(c.finish_reason == "cancelled" for c in self._completions)

    def as_object(self) -> dict[str, object]:
        return {
            "messages": self._messages,
            "responses": [completion_object(c) for c in self._completions],
        }


def _message() -> str:
    """All of stdin.

    Raises:
        ValueError: If there is nothing.
    """
    if not (text := read_stdin()):
        raise ValueError("there is no message on stdin")
    return text


def _converse(conversation: _Conversation) -> None:
    with contextlib.suppress(ImportError):  # line editing and history, where there are
        import readline  # noqa: F401
    while (text := _ask()) not in (None, "/exit"):
        if text == "/clear":
            conversation.clear()
        elif text:
            try:
                conversation.say(text)
            except ContextOverflowError as error:
                stderr().print(f"{error}; /clear starts anew")


def _ask() -> str | None:
    """A line of the user's; None at the end of input."""
    try:
        return input("> " if sys.stdout.isatty() else "").strip()
    except EOFError:
        return None
    except UnicodeDecodeError:
        stderr().print(f"that is not {sys.stdin.encoding} text: nothing was said")
        return ""
