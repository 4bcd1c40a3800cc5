"""Tells the control tokens that a template writes from those that its messages spell.

A template is a program: what it prints does not say where it came from. Therefore the control
tokens in its source are put between marks that nobody can guess before it is compiled. Messages go
through it as they are, so that it may trim, split and compare them; and whatever comes out without
marks is text, even where the template made a control token's spelling of pieces of messages.
"""

from __future__ import annotations

import re
import secrets
from typing import TYPE_CHECKING

from jinja2 import nodes

from rewardshift.text.spelling import Stretch, longest_first, stretches_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

_EXAMINING = frozenset(
    (
        *("count", "endswith", "find", "get", "index", "lstrip", "partition", "removeprefix"),
        *("removesuffix", "replace", "rfind", "rindex", "rpartition", "rsplit", "rstrip"),
        *("split", "startswith", "strip", "trim"),
    )
)
"""Methods and filters whose first argument is looked for, and not printed."""


class OwnTokens:
    """The control tokens that one template writes itself.

    Some templates make them of parts: ``'<|' + message.role + '|>'``. Such halves are marked too;
    two of them make a token together with a role, or a text of the template's, between them.
    """

    def __init__(self, control_tokens: Collection[str]) -> None:
        """Of a vocabulary, by what its control tokens spell."""
        nonce = secrets.randbelow(10**18)
        self._open, self._close = f"\ufdd0{nonce}\ufdd1", f"\ufdd0{nonce}\ufdd2"
        self._marked = re.compile(f"{self._open}(.*?){self._close}", re.DOTALL)
        self._spellings = longest_first(control_tokens)
        self._tokens = frozenset(self._spellings)
        self._heads = {token[:n] for token in self._tokens for n in range(1, len(token))}
        self._tails = {token[n:] for token in self._tokens for n in range(1, len(token))}
        self._constants: set[str] = set()

    def mark_source(self, template: nodes.Template) -> None:
        """Marks the constants of a parsed template."""
        for node in template.find_all(nodes.Const):
            if isinstance(node.value, str):
                self._constants.add(node.value)
        self._visit(template)

    def mark(self, text: str) -> str:
        """A text with its control tokens, and halves of some at its ends, between marks."""
        parts = stretches_of(text, self._spellings)
        if parts and not parts[0].is_control:
            first = parts[0].text
            tail = _longest((first[:n] for n in _lengths(first, self._spellings)), self._tails)
            parts[:1] = [Stretch(tail, is_control=True), Stretch(first[len(tail) :])]
        if parts and not parts[-1].is_control:
            last = parts[-1].text
            head = _longest((last[-n:] for n in _lengths(last, self._spellings)), self._heads)
            parts[-1:] = [Stretch(last[: len(last) - len(head)]), Stretch(head, is_control=True)]
        return "".join(
            f"{self._open}{part.text}{self._close}" if part.is_control else part.text
            for part in parts
            if part.text
        )

    def unmarked(self, text: str) -> str:
        """A text without the marks in it."""
        return text.replace(self._open, "").replace(self._close, "")

    def found_in(self, printed: str, roles: Collection[str]) -> list[Stretch]:
        """What a template printed, with its own control tokens told from text.

        Args:
            printed: By the marked template.
            roles: Of the messages.
        """
        parts = [
            Stretch(self.unmarked(part), is_control=i % 2 == 1)
            for i, part in enumerate(self._marked.split(printed))
            if part
        ]
        names = {*roles, *self._constants}
        found = []
        at = 0
        while at < len(parts):
            length = next((n for n in (1, 2, 3) if self._is_token(parts[at : at + n], names)), 0)
            text = "".join(part.text for part in parts[at : at + (length or 1)])
            found.append(Stretch(text, is_control=length > 0))
            at += length or 1
        return found

    def _is_token(self, parts: list[Stretch], names: Collection[str]) -> bool:
        """Whether these are one token: marked in whole, or as halves with a name between them."""
        if not (parts[0].is_control and parts[-1].is_control):
            return False
        if len(parts) == 3 and not (parts[1].is_control or parts[1].text in names):
            return False
        return "".join(part.text for part in parts) in self._tokens

    def _visit(self, node: nodes.Node, *, is_printed: bool = True) -> None:
        """Marks the constants below a node that may be printed; the others are compared with."""
        if isinstance(node, nodes.TemplateData):
            node.data = self.mark(node.data)
        elif isinstance(node, nodes.Const):
            if is_printed and isinstance(node.value, str):
                node.value = self.mark(node.value)
        else:
            for name, value in node.iter_fields():
                for i, child in enumerate(value if isinstance(value, list) else [value]):
                    if isinstance(child, nodes.Node):
                        printed = is_printed and not _is_examined(node, name, i)
                        self._visit(child, is_printed=printed)


def _is_examined(node: nodes.Node, field: str, number: int) -> bool:
    """Whether a child of a node is compared with something, or looked up."""
    if isinstance(node, (nodes.Compare, nodes.Test)):
        return True
    if isinstance(node, (nodes.Getitem, nodes.Pair)):
        return field in ("arg", "key")
    if field == "test":
        return True
    name = None
    if isinstance(node, nodes.Filter):
        name = node.name
    elif isinstance(node, nodes.Call) and isinstance(node.node, nodes.Getattr):
        name = node.node.attr
    return name in _EXAMINING and field == "args" and number == 0


def _lengths(text: str, spellings: Sequence[str]) -> range:
    """How long a half of a token may be that the text begins or ends with, longest first."""
    return range(min(len(text), max(map(len, spellings), default=0)), 0, -1)


def _longest(candidates: Iterable[str], halves: Collection[str]) -> str:
    return next((half for half in candidates if half in halves and not half.isspace()), "")
