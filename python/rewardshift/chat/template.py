"""Chat templates as GGUF files carry them: Jinja, rendered in a sandbox."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn

from rewardshift.boundary import require_text, require_truth, shown
from rewardshift.errors import ChatTemplateError

from .messages import checked_messages, checked_tools

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from rewardshift.text.spelling import Stretch
    from rewardshift.text.vocabulary import Vocabulary

    from .messages import Messages, Tools

_OURS = frozenset(("messages", "tools", "bos_token", "eos_token"))
"""What a template is given anyway, and takes from nobody else."""


class ChatTemplate:
    """Renders messages into a prompt, as the model was trained to see them.

    Example:
        >>> source = "{% for m in messages %}<{{ m.role }}> {{ m.content }}{% endfor %}"
        >>> ChatTemplate(source).render([{"role": "user", "content": "Hi"}])
        '<user> Hi'
    """

    def __init__(
        self,
        source: str,
        *,
        bos_token: str = "",
        eos_token: str = "",
        control_tokens: Collection[str] = (),
    ) -> None:
        """Compiles a template.

        Args:
            source: The Jinja source.
            bos_token: What ``bos_token`` stands for in it.
            eos_token: What ``eos_token`` stands for in it.
            control_tokens: What the control tokens of the vocabulary spell; ``stretches`` tells
                the template's own from text.

        Raises:
            ChatTemplateError: If the source is not valid Jinja.
        """
        require_text(source=source, bos_token=bos_token, eos_token=eos_token)
        if isinstance(control_tokens, (str, bytes)) or not isinstance(control_tokens, Iterable):
            raise TypeError(f"control_tokens must be texts, not {shown(control_tokens)}")
        for spelling in control_tokens:
            require_text(control_tokens=spelling)

        from jinja2 import TemplateError
        from jinja2.ext import loopcontrols
        from jinja2.sandbox import ImmutableSandboxedEnvironment

        from .own_tokens import OwnTokens

        environment = ImmutableSandboxedEnvironment(
            trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols]
        )
        environment.filters["tojson"] = _tojson
        environment.globals["raise_exception"] = _raise_exception
        environment.globals["strftime_now"] = _strftime_now
        self._anew = partial(
            ChatTemplate,
            source,
            bos_token=bos_token,
            eos_token=eos_token,
            control_tokens=tuple(control_tokens),
        )
        self._own = OwnTokens(control_tokens)
        self._special = {
            "bos_token": self._own.mark(bos_token),
            "eos_token": self._own.mark(eos_token),
        }
        try:
            parsed = environment.parse(source)
            self._own.mark_source(parsed)
            self._template = environment.from_string(parsed)
        except TemplateError as error:
            raise ChatTemplateError(f"the model's chat template is not valid: {error}") from error

    def __reduce__(self) -> tuple[Callable[[], ChatTemplate], tuple[()]]:
        """Compiles it anew, wherever it is sent."""
        return self._anew, ()

    def render(
        self,
        messages: Messages,
        *,
        tools: Tools | None = None,
        add_generation_prompt: bool = True,
        chat_template_kwargs: Mapping[str, Any] | None = None,
    ) -> str:
        """The prompt for the messages.

        Args:
            messages: Any iterable of mappings; see ``Message``.
            tools: What the model may call, as JSON schemas.
            add_generation_prompt: Whether the prompt asks for an answer at its end.
            chat_template_kwargs: What else the template is to know, by name.

        Raises:
            ChatTemplateError: If they are no messages, or the template refuses them.
        """
        found = self.stretches(
            messages,
            tools=tools,
            add_generation_prompt=add_generation_prompt,
            chat_template_kwargs=chat_template_kwargs,
        )
        return "".join(stretch.text for stretch in found)

    def stretches(
        self,
        messages: Messages,
        *,
        tools: Tools | None = None,
        add_generation_prompt: bool = True,
        chat_template_kwargs: Mapping[str, Any] | None = None,
    ) -> list[Stretch]:
        """The same in parts, which tell the template's own control tokens from text."""
        require_truth(add_generation_prompt=add_generation_prompt)
        turns = checked_messages(messages)
        values: dict[str, Any] = {
            "add_generation_prompt": add_generation_prompt,
            **_checked_kwargs(chat_template_kwargs),
            "messages": turns,
            **self._special,
        }
        if (offered := checked_tools(tools)) is not None:
            values["tools"] = offered
        try:
            printed = self._template.render(values)
        except Exception as error:  # templates are programs: anything may come out
            raise ChatTemplateError(
                "the model's chat template cannot render these messages: "
                f"{self._own.unmarked(str(error))}"
            ) from error
        return self._own.found_in(printed, {message["role"] for message in turns})


def template_of(vocabulary: Vocabulary) -> ChatTemplate | None:
    """The template of a vocabulary's own file, with its special tokens; None where it has none.

    Raises:
        ChatTemplateError: If it is not valid Jinja.
    """
    source = vocabulary.model.chat_template
    if source is None:
        return None
    facts = vocabulary.model.facts

    def text(token: int | None) -> str:
        return "" if token is None else vocabulary.detokenize([token], special=True)

    return ChatTemplate(
        source,
        bos_token=text(facts.bos),
        eos_token=text(facts.eos),
        control_tokens=vocabulary.control_tokens,
    )


def _checked_kwargs(given: Mapping[str, Any] | None) -> Mapping[str, Any]:
    if given is None:
        return {}
    if not isinstance(given, Mapping) or not all(isinstance(name, str) for name in given):
        raise TypeError(f"chat_template_kwargs must map names to values, not {shown(given)}")
    if taken := sorted(_OURS & set(given)):
        raise ValueError(f"chat_template_kwargs cannot hold {', '.join(taken)}: they are arguments")
    return given


def _tojson(
    value: Any,  # noqa: ANN401 - any JSON
    indent: int | None = None,
    *,
    ensure_ascii: bool = False,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    return json.dumps(
        value,
        ensure_ascii=ensure_ascii,
        indent=indent,
        separators=separators,
        sort_keys=sort_keys,
    )


def _raise_exception(message: str) -> NoReturn:
    from jinja2 import TemplateError

    raise TemplateError(message)


def _strftime_now(format: str) -> str:  # noqa: A002 - the name templates use
    return dt.datetime.now().astimezone().strftime(format)
