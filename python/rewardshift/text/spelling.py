"""Where control tokens are spelled in a text, and which of them are meant."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


class Stretch(NamedTuple):
    """A part of a prompt.

    Attributes:
        text: What it spells.
        is_control: Whether it is a control token; else it is text, whatever it spells.
    """

    text: str
    is_control: bool = False


def longest_first(spellings: Iterable[str]) -> tuple[str, ...]:
    """In the order in which llama.cpp looks for them."""
    return tuple(
        sorted(spellings, key=lambda spelling: -len(spelling.encode(errors="surrogatepass")))
    )


def spelled_in(text: str, spellings: Sequence[str]) -> list[tuple[int, int]]:
    """Where llama.cpp would find control tokens in a text: begin and end of each, ascending.

    It looks for one token after the other through all of the text; what one has taken is not there
    for the next.

    Args:
        text: Any text.
        spellings: The tokens', as ``longest_first`` orders them.
    """
    found: list[tuple[int, int]] = []
    free = [(0, len(text))]
    for spelling in spellings:
        if spelling not in text:
            continue
        left = []
        for begin, end in free:
            start = begin
            while (at := text.find(spelling, start, end)) >= 0:
                left.append((start, at))
                start = at + len(spelling)
                found.append((at, start))
            left.append((start, end))
        free = left
    return sorted(found)


def stretches_of(text: str, spellings: Sequence[str]) -> list[Stretch]:
    """A text in which all control tokens are meant; arguments as ``spelled_in``."""
    stretches = []
    start = 0
    for begin, end in spelled_in(text, spellings):
        stretches += [Stretch(text[start:begin]), Stretch(text[begin:end], is_control=True)]
        start = end
    return [stretch for stretch in [*stretches, Stretch(text[start:])] if stretch.text]
