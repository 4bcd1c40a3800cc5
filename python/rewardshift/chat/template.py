"""Chat templates as GGUF files carry them: Jinja, rendered in a sandbox."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NoReturn, TypedDict

from rewardshift.errors import ChatTemplateError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rewardshift import _core


class Message(TypedDict):
    """One turn of a conversation."""

    role: str
    content: str


class ChatTemplate:
    """Renders messages into a prompt, as the model was trained to see them.

    Example:
        >>> source = "{% for m in messages %}<{{ m.role }}> {{ m.content }}{% endfor %}"
        >>> ChatTemplate(source).render([{"role": "user", "content": "Hi"}])
        '<user> Hi'
    """

    def __init__(self, source: str, *, bos_token: str = "", eos_token: str = "") -> None:
        """Compiles a template.

        Args:
            source: The Jinja source.
            bos_token: What ``bos_token`` stands for in it.
            eos_token: What ``eos_token`` stands for in it.

        Raises:
            ChatTemplateError: If the source is not valid Jinja.
        """
        from jinja2 import TemplateError
        from jinja2.ext import loopcontrols
        from jinja2.sandbox import ImmutableSandboxedEnvironment

        environment = ImmutableSandboxedEnvironment(
            trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols]
        )
        environment.filters["tojson"] = _tojson
        environment.globals["raise_exception"] = _raise_exception
        environment.globals["strftime_now"] = _strftime_now
        self._special = {"bos_token": bos_token, "eos_token": eos_token}
        try:
            self._template = environment.from_string(source)
        except TemplateError as error:
            raise ChatTemplateError(f"the model's chat template is not valid: {error}") from error

    def render(self, messages: Sequence[Message], *, add_generation_prompt: bool = True) -> str:
        """The prompt for the messages.

        Raises:
            TypeError: If they are no messages.
            ChatTemplateError: If the template refuses the messages.
        """
        for message in messages:
            if not isinstance(message, Mapping) or "role" not in message:
                raise TypeError(f"a message has a role and a content, unlike {message!r}")
        try:
            return self._template.render(
                messages=[dict(message) for message in messages],
                add_generation_prompt=add_generation_prompt,
                **self._special,
            )
        except Exception as error:  # templates are programs: anything may come out
            raise ChatTemplateError(
                f"the model's chat template cannot render these messages: {error}"
            ) from error


def template_of(model: _core.Model) -> ChatTemplate | None:
    """A model's own template, with its special tokens; None where it has none.

    Raises:
        ChatTemplateError: If it is not valid Jinja.
    """
    source = model.chat_template
    if source is None:
        return None
    facts = model.facts

    def text(token: int | None) -> str:
        return "" if token is None else model.detokenize([token], True).decode(errors="replace")

    return ChatTemplate(source, bos_token=text(facts.bos), eos_token=text(facts.eos))


def with_system(messages: Sequence[Message], system: str) -> list[Message]:
    """The messages with another system message, in place of their own if they have one."""
    rest = [message for message in messages if message["role"] != "system"]
    return [{"role": "system", "content": system}, *rest]


def _tojson(value: Any, indent: int | None = None) -> str:  # noqa: ANN401 - any JSON
    return json.dumps(value, ensure_ascii=False, indent=indent)


def _raise_exception(message: str) -> NoReturn:
    from jinja2 import TemplateError

    raise TemplateError(message)


def _strftime_now(format: str) -> str:  # noqa: A002 - the name templates use
    return dt.datetime.now().astimezone().strftime(format)
