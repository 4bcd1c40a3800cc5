"""Messages as users write them, checked before a template sees them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, TypedDict

from rewardshift.boundary import NO_SEQUENCE, described, half_a_pair
from rewardshift.errors import ChatTemplateError


class TextPart(TypedDict):
    """A part of a message's content."""

    type: Literal["text"]
    text: str


class _Turn(TypedDict):
    role: str


class Message(_Turn, total=False):
    """One turn of a conversation; what it has besides goes to the template as it is.

    Attributes:
        role: Who speaks, in the words of the template: "system", "user", "assistant", "tool".
        content: Text, or text parts, ``{"type": "text", "text": ...}`` each, which are joined. With
            ``tool_calls`` it may be None or left out.
        name: Of who speaks, or of the tool that answers.
        tool_calls: What the assistant called.
        tool_call_id: Which call a tool answers.
    """

    content: str | Sequence[TextPart] | None
    name: str
    tool_calls: Sequence[Mapping[str, Any]]
    tool_call_id: str


Messages = Iterable[Mapping[str, Any]]
"""A conversation: mappings with a role and a content, such as ``Message``."""

Tools = Iterable[Mapping[str, Any]]
"""What a model may call, as JSON schemas."""


def checked_messages(messages: Messages) -> list[dict[str, Any]]:
    """The messages of a conversation as templates expect them: dictionaries whose content is text.

    Args:
        messages: Read once. ``content`` is text, a list of text parts (which are joined), or, with
            ``tool_calls``, None or left out.

    Raises:
        ChatTemplateError: If there is none, or one is no such message; it says which, counted from
            1.
    """
    if isinstance(messages, NO_SEQUENCE) or not isinstance(messages, Iterable):
        raise ChatTemplateError(
            f"a conversation is {described(messages)}; give a list of messages, such as "
            '[{"role": "user", "content": "Hello"}]'
        )
    found = [_checked(f"message {i}", message) for i, message in enumerate(messages, 1)]
    if not found:
        raise ChatTemplateError("the conversation is empty; give it a message")
    return found


def checked_tools(tools: Tools | None) -> list[dict[str, Any]] | None:
    """The tools that a template may offer to the model; None for none.

    Raises:
        ChatTemplateError: If they are no mappings; it says which, counted from 1.
    """
    if tools is None:
        return None
    if isinstance(tools, NO_SEQUENCE) or not isinstance(tools, Iterable):
        raise ChatTemplateError(f"tools is {described(tools)}; give a list of mappings")
    found = []
    for i, tool in enumerate(tools, 1):
        if not isinstance(tool, Mapping):
            raise ChatTemplateError(
                f"tool {i} is {described(tool)}; give a mapping that describes a function"
            )
        found.append(_as_json(tool))
    return found


def with_system(messages: Messages, system: str) -> list[Message]:
    """The messages with another system message, in place of their own if they have one.

    Raises:
        ChatTemplateError: If the system message is no text.
    """
    if not isinstance(system, str):
        raise ChatTemplateError(f"a system message is {described(system)}; give text")
    rest: Any = [message for message in messages if message["role"] != "system"]
    return [{"role": "system", "content": system}, *rest]


def _checked(where: str, message: object) -> dict[str, Any]:
    if not isinstance(message, Mapping):
        raise ChatTemplateError(
            f"{where} is {described(message)}; give a mapping with a role and a content"
        )
    if "role" not in message:
        raise ChatTemplateError(f"{where} has no role: {described(message)}")
    role = message["role"]
    if not isinstance(role, str):
        raise ChatTemplateError(f"{where}: role is {described(role)}; give text")
    found: dict[str, Any] = _as_json(message)
    if message.get("content") is not None:
        return {**found, "content": _text(where, message["content"])}
    if message.get("tool_calls"):
        return {**found, "content": None}
    if "content" not in message:
        raise ChatTemplateError(f"{where} has no content; give text, or tool_calls")
    raise ChatTemplateError(
        f"{where}: content is None, which goes with tool_calls only; give text, or a list of text "
        "parts"
    )


def _text(where: str, content: object) -> str:
    if isinstance(content, str):
        if (wrong := half_a_pair(content)) is not None:
            raise ChatTemplateError(f"{where}: content must be Unicode; {wrong}")
        return str(content)
    if not isinstance(content, Sequence) or isinstance(content, NO_SEQUENCE):
        raise ChatTemplateError(
            f"{where}: content is {described(content)}; give text, or a list of text parts"
        )
    texts = []
    for i, part in enumerate(content, 1):
        if not isinstance(part, Mapping):
            raise ChatTemplateError(
                f"{where}: part {i} of the content is {described(part)}; give "
                '{"type": "text", "text": ...}'
            )
        if part.get("type") != "text":
            raise ChatTemplateError(
                f"{where}: part {i} of the content is of type {part.get('type')!r}; only text "
                "can be read"
            )
        if not isinstance(part.get("text"), str):
            raise ChatTemplateError(
                f"{where}: the text of part {i} of the content is {described(part.get('text'))}"
            )
        texts.append(_text(f"{where}, part {i}", part["text"]))
    return "".join(texts)


def _as_json(value: Any) -> Any:  # noqa: ANN401 - whatever users put into messages
    """The same in dictionaries, lists and plain text: templates test for them, and print them."""
    if isinstance(value, str):
        return str(value)
    if isinstance(value, Mapping):
        return {key: _as_json(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_as_json(item) for item in value]
    return value
