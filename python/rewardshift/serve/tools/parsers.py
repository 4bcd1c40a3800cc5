"""How the models of each format call functions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .parser import ToolParser

if TYPE_CHECKING:
    from .scanner import Reading


class _MarkedParser(ToolParser):
    """Calls stand behind a mark, anywhere in the content."""

    mark: str

    def read(self) -> Reading[None]:
        """Content and calls by turns."""
        while self.current:
            yield from self.spaces()
            if self.current != self.mark[0]:
                if self.current:
                    yield from self.content()
            elif (yield from self.literal(self.mark)) and (yield from self.behind_mark()):
                self.drop()
                yield from self.spaces()
                self.drop()
            else:
                self.give_up()

    def behind_mark(self) -> Reading[bool]:
        """Takes what belongs to a mark."""
        raise NotImplementedError


class HermesParser(_MarkedParser):
    r"""``<tool_call>{"name": …, "arguments": {…}}</tool_call>``, as Hermes and Qwen write it.

    Qwen's coders leave the marks out: a response may also begin with the object alone, or with it
    as a block of code.

    Example:
        >>> parser = HermesParser(["now"], make_id=lambda: "1")
        >>> parser.feed('Well.\n<tool_call>{"name": "now", "argu')
        [ContentDelta(text='Well.')]
        >>> parser.feed('ments": {')
        [CallStart(index=0, id='1', name='now'), ArgumentsDelta(index=0, text='{')]
    """

    mark = "<tool_call>"

    def read(self) -> Reading[None]:
        """A call without marks, if it begins with one, then content and calls by turns."""
        yield from self.spaces()
        if self.current and self.current in "{`":
            if (yield from self._without_marks()):
                self.drop()
                yield from self.spaces()
                self.drop()
            else:
                self.give_up()
        yield from super().read()

    def behind_mark(self) -> Reading[bool]:
        """The object and the closing mark."""
        yield from self.spaces()
        if not (yield from self.call_object("arguments")):
            return False
        yield from self.spaces()
        return (yield from self.literal("</tool_call>"))

    def _without_marks(self) -> Reading[bool]:
        is_block = self.current == "`"
        if is_block:
            if not (yield from self.literal("```")):
                return False
            if self.current == "j" and not (yield from self.literal("json")):
                return False
            yield from self.spaces()
        if not (yield from self.call_object("arguments")):
            return False
        if not is_block:
            return True
        yield from self.spaces()
        return (yield from self.literal("```"))


class MistralParser(_MarkedParser):
    """``[TOOL_CALLS][{"name": …, "arguments": {…}}, …]``, or ``[TOOL_CALLS]name[ARGS]{…}``."""

    mark = "[TOOL_CALLS]"

    def behind_mark(self) -> Reading[bool]:
        """The list of calls, or the name and the arguments of one."""
        yield from self.spaces()
        if self.current == "[":
            return (yield from self._list())
        return (yield from self._named())

    def _list(self) -> Reading[bool]:
        while True:
            yield from self.advance()  # the bracket, or a comma
            yield from self.spaces()
            if not (yield from self.call_object("arguments")):
                return False
            yield from self.spaces()
            if self.current != ",":
                return (yield from self.literal("]"))

    def _named(self) -> Reading[bool]:
        at = len(self.held)
        while self.current and self.current not in "[{":
            yield from self.advance()
        name = "".join(self.held[at:]).strip()
        while self.current == "[":
            yield from self.advance()
            if self.current == "C":
                if not (yield from self._id()):
                    return False
            elif not (yield from self.literal("ARGS]")):
                return False
            else:
                break
        yield from self.spaces()
        return (yield from self.arguments(name))

    def _id(self) -> Reading[bool]:
        """An id of the model's own, which newer templates print; ours is another."""
        if not (yield from self.literal("CALL_ID]")):
            return False
        while self.current.isalnum():
            yield from self.advance()
        return self.current == "["


class LlamaParser(ToolParser):
    """``{"name": …, "parameters": {…}}`` in place of content, as Llama 3 writes it.

    It may stand behind ``<|python_tag|>``, and several behind each other, with or without ``;``.
    """

    def read(self) -> Reading[None]:
        """Calls, as long as there are any; content from there on."""
        yield from self.spaces()
        if self.current == "<" and not (yield from self.literal("<|python_tag|>")):
            return
        yield from self.spaces()
        while self.current == "{":
            if not (yield from self.call_object("parameters", "arguments")):
                return
            self.drop()
            yield from self.spaces()
            if self.current == ";":
                yield from self.advance()
                yield from self.spaces()
            if self.current != "{" and ";" not in self.held:
                self.drop()
