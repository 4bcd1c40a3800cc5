"""The items of a response's input become messages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rewardshift.serve.errors import wrong

if TYPE_CHECKING:
    from collections.abc import Sequence

Message = dict[str, Any]

_SYSTEM = ("system", "developer")
_TEXTS = frozenset(("input_text", "output_text", "text", "refusal"))


def messages_of(given: str | Sequence[dict[str, Any]], instructions: str | None) -> list[Message]:
    """A conversation, as chat templates read it.

    Args:
        given: A user's text, or items.
        instructions: A system message before it.

    Raises:
        ApiError: For items that are no text and no call of a tool.
    """
    items = [{"role": "user", "content": given}] if isinstance(given, str) else given
    messages: list[Message] = []
    for number, item in enumerate(items):
        _add(messages, item, f"input[{number}]")
    return _instructed(messages, instructions)


def _add(messages: list[Message], item: dict[str, Any], where: str) -> None:
    kind = item.get("type", "message")
    if kind == "message":
        content = _text(item.get("content"), f"{where}.content")
        messages.append({"role": item.get("role"), "content": content})
    elif kind == "function_call":
        _add_call(messages, item)
    elif kind == "function_call_output":
        content = _text(item.get("output"), f"{where}.output")
        answers = {"role": "tool", "tool_call_id": item.get("call_id")}
        messages.append({**answers, "content": content})
    elif kind != "reasoning":  # which no template here prints
        raise wrong(f"{where} is of type {kind!r}; only text and function calls can be read", where)


def _add_call(messages: list[Message], item: dict[str, Any]) -> None:
    """Calls that follow each other, or the text before them, are one message."""
    function = {"name": item.get("name"), "arguments": item.get("arguments")}
    call = {"id": item.get("call_id"), "type": "function", "function": function}
    if not messages or messages[-1]["role"] != "assistant":
        messages.append({"role": "assistant", "content": None})
    messages[-1].setdefault("tool_calls", []).append(call)


def _text(content: object, where: str) -> str:
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise wrong(f"{where} must be text, or a list of parts", where)
    texts = []
    for number, part in enumerate(content):
        kind = part.get("type") if isinstance(part, dict) else None
        is_text = isinstance(kind, str) and kind in _TEXTS
        text = part.get("refusal" if kind == "refusal" else "text") if is_text else None
        if not isinstance(text, str):
            raise wrong(f"{where}[{number}] is of type {kind!r}; only text can be read", where)
        texts.append(text)
    return "".join(texts)


def _instructed(messages: list[Message], instructions: str | None) -> list[Message]:
    """With the instructions first; with a system message of its own in one, as templates ask."""
    if not instructions:
        return messages
    if messages and messages[0]["role"] in _SYSTEM:
        both = f"{instructions}\n\n{messages[0]['content']}"
        return [{**messages[0], "content": both}, *messages[1:]]
    return [{"role": "system", "content": instructions}, *messages]
